"""Studio: takes of a speaker judged, enrolled, asked and deleted; what a page shows, without it."""

from pathlib import Path
from typing import NamedTuple

import torch

from vofp_plugin.dataio.audio import load_audio
from vofp_plugin.dataio.quality import Quality, assess
from vofp_plugin.inference.streaming import StreamingSpotter

LONGEST = 60.0  # s, of a recording
LARGEST = 10 * 2**20  # bytes, of its file
LONGEST_NAME = 60  # characters
HOP = 0.1  # s, between the windows of a curve


class Take(NamedTuple):
    """A recording of one utterance, and what is to be said of it.

    Arguments
    ---------
    wav : torch.Tensor
        (L,), of the front end's sampling rate.
    seconds : float
    quality : Quality
    """

    wav: torch.Tensor
    seconds: float
    quality: Quality


class Answer(NamedTuple):
    """What was heard in a recording with an enrollment, "own" or "none".

    Arguments
    ---------
    enrollment : str
    word : str
    probability : float
    """

    enrollment: str
    word: str
    probability: float


class Moment(NamedTuple):
    """Probability of a word in the window around a moment, with an enrollment.

    Arguments
    ---------
    time : float
        Middle of the window, in s from the start of the recording.
    enrollment : str
    probability : float
    """

    time: float
    enrollment: str
    probability: float


class Studio:
    """Enrolls speakers in a profile store and asks the model with and without their profiles.

    Arguments
    ---------
    spotter : KeywordSpotter
        With a personalized model.
    store : ProfileStore
    """

    def __init__(self, spotter, store):
        self.spotter, self.store = spotter, store

    def take(self, path):
        """Reads a recording and judges it: a `Take`.

        Raises
        ------
        FileNotFoundError, ValueError
            If it is too large or too long, or as `load_audio`.
        """
        wav, front_end = self._read(path), self.spotter.hparams.front_end
        quality = assess(front_end.fit(wav), front_end.sample_rate)
        return Take(wav, len(wav) / front_end.sample_rate, quality)

    def enroll(self, name, takes):
        """Enrolls a speaker, or adds takes to who is enrolled, and keeps the profile.

        Arguments
        ---------
        name : str
        takes : list of Take

        Returns
        -------
        Profile

        Raises
        ------
        ValueError
            If the name cannot be one, there is no take, or none can be used; nothing is kept then.
        """
        name = checked_name(name)
        if not takes:
            raise ValueError("Got no take; expected at least one: record or upload some.")
        if all(take.quality.refused for take in takes):
            reasons = ", ".join(dict.fromkeys(take.quality.reason for take in takes))
            raise ValueError(f"None of the takes can be used ({reasons}); record them again.")
        wavs, model = [take.wav for take in takes], self.spotter.mods.model
        if name not in self.store.names():
            self.store.save(name, self.spotter.enroll(wavs))
            return self.store.load(name, model)
        front_end = self.spotter.hparams.front_end
        return self.store.update(name, model, lambda old: old.add(model, front_end, wavs))

    def answers(self, name, path):
        """Asks for the word of a recording with a speaker's profile and without: two `Answer`.

        Raises
        ------
        KeyError
            If nobody of that name is enrolled.
        FileNotFoundError, ValueError
            As `take`, or if the profile is of another model.
        """
        wav = self._read(path)
        return [
            Answer(enrollment, word, score.exp().item())
            for enrollment, profile in self._profiles(name).items()
            for _, score, _, (word,) in [self.spotter.classify_batch([wav], profiles=profile)]
        ]

    def curve(self, name, path):
        """Tells where in a recording a word is.

        Arguments
        ---------
        name : str
            Of a speaker.
        path : str or Path

        Returns
        -------
        str
            The word that is likeliest in any window, with the speaker's profile.
        list of Moment
            One for each window and enrollment.

        Raises
        ------
        KeyError, FileNotFoundError, ValueError
            As `answers`.
        """
        wav = self._read(path)
        windows = {
            enrollment: list(StreamingSpotter(self.spotter, profile, hop=HOP).windows([wav]))
            for enrollment, profile in self._profiles(name).items()
        }
        own = torch.stack([log_probs for *_, log_probs in windows["own"]])
        place = own.amax(dim=0).argmax()
        (word,) = self.spotter.hparams.label_encoder.decode_torch(place.view(1))
        rate = self.spotter.hparams.front_end.sample_rate
        return word, [
            Moment(start + len(clip) / rate / 2, enrollment, log_probs[place].exp().item())
            for enrollment, found in windows.items()
            for start, clip, log_probs in found
        ]

    def _profiles(self, name):
        own = self.store.load(name, self.spotter.mods.model)
        return {"own": own, "none": None}

    def _read(self, path):
        size = Path(path).stat().st_size if Path(path).is_file() else 0
        if size > LARGEST:
            raise ValueError(
                f"Got {size / 2**20:.1f} MB; expected at most {LARGEST // 2**20}: cut the take."
            )
        return load_audio(path, self.spotter.hparams.front_end.sample_rate, LONGEST)


def checked_name(name):
    """Gives a name without blanks around it, if it can be one.

    Raises
    ------
    ValueError
        If it is empty, too long or holds what cannot be shown.

    Example
    -------
    >>> checked_name(" anna ")
    'anna'
    """
    name = (name or "").strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        raise ValueError(
            f"Got {len(name)} characters for a name; expected 1 to {LONGEST_NAME} that can be "
            "shown: name the speaker."
        )
    return name
