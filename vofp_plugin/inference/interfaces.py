"""What all inference classes share: loading, enrolling, and a profile for each item."""

from collections import defaultdict
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from speechbrain.inference.interfaces import Pretrained, pretrained_from_hparams

from vofp_plugin.dataio.audio import check_wavs, load_audio
from vofp_plugin.inference.profile import Profile, empty_profile, load_profile, weights_of
from vofp_plugin.inference.shipped import model_folder
from vofp_plugin.lobes.decision import Decision
from vofp_plugin.utils.files import reason_of

KEPT_WEIGHTS = 32  # profiles whose weights are kept, those that answered last
DECISION_FILE = "decision.json"
DECISIONS = "decision*.json"  # that one, and those by other rules


class PersonalizedInterface(Pretrained):
    """Base of inference classes: a trained run that answers with speakers' profiles.

    Any number of threads may enroll and ask at once, each with other profiles. A subclass names
    what its answers are; see `KeywordSpotter`.
    """

    HPARAMS_NEEDED = ["front_end"]
    MODULES_NEEDED = ["model"]
    hears_whole = False  # whether all of a recording is heard, or its loudest clip

    def __init__(self, modules=None, hparams=None, run_opts=None, **kwargs):
        _check_device(run_opts)
        super().__init__(modules, hparams, run_opts, **kwargs)
        self._kept_weights = lru_cache(KEPT_WEIGHTS)(lambda p: p.weights(self.mods.model))

    @classmethod
    def from_hparams(cls, source, *args, **kwargs):
        """Loads a model; arguments are those of SpeechBrain's.

        Its YAML can run any code, as every HyperPyYAML can: load no folder of a stranger's.

        Arguments
        ---------
        source : str or Path
            The folder `pretrained` of a run, or a shipped model such as "pretrained/keywords".

        Returns
        -------
        PersonalizedInterface
            Of the class that the YAML names as `interface`, which is this class or one of its
            subclasses.

        Raises
        ------
        FileNotFoundError
            If there is no such folder; SpeechBrain's would look for it on a hub.
        ValueError
            If the weights are damaged or of another model, this is the folder around it, or the
            machine lacks the device of `run_opts`.
        TypeError
            If the model is one for another class.
        ImportError
            If Python does not find the code of the main model.
        """
        folder = model_folder(source)
        # Made outside, so that only what comes of reading the files is told as their damage.
        loaded = _read(folder, *args, **kwargs)
        if loaded is None:
            return None
        for path in folder.glob(DECISIONS):
            loaded["hparams"][path.stem] = Decision.load(path)
        return _interface(loaded["hparams"], cls)(**loaded)

    def load_audio(self, path):
        """Reads an audio file, (L,), resampled and mixed down as the front end needs.

        Raises
        ------
        FileNotFoundError, ValueError
            As `vofp_plugin.dataio.audio.load_audio`.
        """
        return load_audio(path, self.hparams.front_end.sample_rate)

    def enroll(self, utterances, labels=None):
        """Enrolls a speaker.

        Arguments
        ---------
        utterances : list of str, Path, torch.Tensor or numpy.ndarray
            Audio files, or waveforms, (L,) each, full scale at 1, of the front end's sampling rate.
        labels : list of int
            Class index of the word said in each, for a model that was trained to be told.

        Returns
        -------
        Profile
            To save, to add to, and to ask with.

        Raises
        ------
        TypeError, ValueError
            If the model is not personalized, or as `Profile.add` says.
        """
        wavs = self.waveforms(utterances)
        return self.empty_profile().add(self.mods.model, self.hparams.front_end, wavs, labels)

    def empty_profile(self):
        """Makes the profile of a speaker who has not enrolled; errors are those of `enroll`."""
        model = self.mods.model
        if not hasattr(model, "summarize"):
            raise TypeError(
                f"Got a {type(model).__name__} to enroll with; expected a personalized "
                "model: load a run of vofp.yaml, or a shipped one."
            )
        return empty_profile(model, self.hparams.front_end)

    def load_profile(self, path):
        """Reads a profile that was saved; errors are those of `load_profile` and `Profile.add`."""
        profile = load_profile(path, self.mods.model)
        profile.check_front_end(self.hparams.front_end)
        return profile

    def merge(self, profile):
        """Makes a plain main model of the speaker's weights, with nothing of this plugin."""
        return self.mods.model.merge(self.weights_of(profile))

    def answer(self, wavs, wav_lens=None, profiles=None):
        """Gives what the model puts out for clips, each with its speaker's weights.

        Arguments
        ---------
        wavs : torch.Tensor or list of str, Path, torch.Tensor or numpy.ndarray
            (B, L), or B audio files or waveforms (L,), of the front end's sampling rate; cut or
            padded to the length of all clips.
        wav_lens : torch.Tensor
            Relative lengths of `wavs` (B, L), in (0, 1], (B,); None means that all are whole.
        profiles : Profile or list of Profile
            Of the speaker of all clips, or of the speaker of each, B; None answers as for
            everybody.

        Returns
        -------
        torch.Tensor
            (B, ...).

        Raises
        ------
        ValueError
            If a profile was made with another model or front end, numbers of items differ, or a
            waveform cannot be used.
        TypeError
            If a profile is none, or a waveform no float tensor.
        """
        return self.conclude(self.rows(wavs, wav_lens, profiles))

    def conclude(self, rows):
        """What the class makes of the model's output (B, ...), by what can be exported."""
        return rows

    @torch.no_grad()
    def rows(self, wavs, wav_lens=None, profiles=None):
        """What the model puts out, (B, ...), whatever the class makes of it; see `answer`."""
        feats, lens = self.features(wavs, wav_lens)
        groups = _groups(_profile_of_each(profiles, len(feats)))
        outputs = [self._run(feats[items], lens[items], group) for group, items in groups]
        order = torch.cat([items for _, items in groups])
        return torch.cat(outputs)[order.argsort().to(self.device)]

    def features(self, wavs, wav_lens=None):
        """Features (B, T, F) and relative lengths (B,) of clips; arguments as for `answer`."""
        clips, lens = self._clips(wavs, wav_lens)
        parameter = next(self.mods.model.parameters())
        return self.hparams.front_end(torch.stack(clips)).to(parameter), lens.to(parameter)

    def _run(self, feats, lens, profiles):
        """Outputs for the items of some speakers, as many of each, speaker after speaker."""
        weights = None
        if len(profiles) == 1:
            weights = self.weights_of(profiles[0])
        elif profiles:
            self._check_profiles(profiles)
            weights = weights_of(profiles, self.mods.model)  # cheaper than to join kept ones
        with self.inference_ctx:
            return self.mods.model(feats, lens, weights)

    def weights_of(self, profile):
        """Weights of a profile, made once while the model stays as it is.

        Returns
        -------
        dict
            {parameter name: (1, *shape)}.

        Raises
        ------
        TypeError, ValueError
            If it is no profile, or was made with another model or front end.
        """
        self._check_profiles([profile])
        return self._kept_weights(profile)

    def _check_profiles(self, profiles):
        """Refuses what is no profile, or of another model or front end; looks once at each kind."""
        for profile in profiles:
            _check_profile(profile)
        kinds = {(p.model_digest, p.front_end_digest): p for p in profiles}
        for profile in kinds.values():
            profile.check_model(self.mods.model)
            profile.check_front_end(self.hparams.front_end)

    def _clips(self, wavs, wav_lens):
        """Clips of one length, (L,) each, and how much of it each fills, (B,)."""
        front_end = self.hparams.front_end
        wavs = self.waveforms(wavs, wav_lens)
        check_wavs(wavs, "Query", front_end)
        lens = [front_end.relative_length({"start": 0, "stop": len(wav)}) for wav in wavs]
        return [front_end.fit(wav.cpu().float()) for wav in wavs], torch.tensor(lens)

    def waveforms(self, utterances, wav_lens=None):
        """Waveforms (L,), a list, of files, arrays and tensors; arguments as for `answer`."""
        if isinstance(utterances, str | Path):
            raise TypeError(f"Got the path {utterances} alone; expected a list of utterances.")
        if isinstance(utterances, torch.Tensor | np.ndarray) and utterances.ndim != 2:
            raise ValueError(f"Got waveforms of shape {tuple(utterances.shape)}; expected (B, L).")
        if len(utterances) == 0:
            raise ValueError("Got no waveform; expected at least one.")
        wavs = [self._waveform(utterance) for utterance in utterances]
        return _cut(wavs, wav_lens, utterances)

    def _waveform(self, utterance):
        if isinstance(utterance, str | Path):
            return self.load_audio(utterance)
        return torch.from_numpy(utterance) if isinstance(utterance, np.ndarray) else utterance


def _read(source, *args, **kwargs):
    """Arguments of the constructor that a folder gives, with those that are not for loading."""
    try:
        return pretrained_from_hparams(dict, str(source), *args, **kwargs)
    except (OSError, MemoryError):  # say what is the matter
        raise
    except ImportError as error:
        raise ImportError(
            f"The model in {source} needs code that Python does not find "
            f"({error}): install it, or add its folder to PYTHONPATH."
        ) from error
    except Exception as error:  # a damaged file may fail in any way
        raise ValueError(
            f"Cannot load the model in {source} ({reason_of(error)}). It is damaged, "
            "or of another model or version of vofp_plugin: start its training again, which "
            "writes it anew."
        ) from error


def _interface(hparams, asked):
    """The class that the YAML of a model names, if it is the one asked for or more special."""
    named = hparams.get("interface", asked)
    if not issubclass(named, asked):
        raise TypeError(
            f"Got a model for {named.__name__}; expected one for {asked.__name__}: take another "
            "model, or load this one by its own class."
        )
    return named


def _check_device(run_opts):
    device = (
        (run_opts or {}).get("device") if isinstance(run_opts, dict | None) else run_opts.device
    )
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # the latter by a torch without CUDA
        raise ValueError(
            f"Cannot use the device {device!r} ({reason_of(error)}); expected one that this "
            "machine has, such as 'cpu'."
        ) from error


def _cut(wavs, wav_lens, given):
    """Waveforms without the padding that relative lengths tell of."""
    if wav_lens is None:
        return wavs
    lens = torch.as_tensor(wav_lens)
    if not isinstance(given, torch.Tensor | np.ndarray) or lens.shape != (len(wavs),):
        raise ValueError(
            f"Got wav_lens of shape {tuple(lens.shape)} for {len(wavs)} waveforms; expected one "
            "relative length for each of a padded batch (B, L), and none for a list."
        )
    if not ((lens > 0) & (lens <= 1)).all():
        raise ValueError(f"Got wav_lens from {lens.min():g} to {lens.max():g}; expected (0, 1].")
    return [
        wav[: round(len(wav) * length)] for wav, length in zip(wavs, lens.tolist(), strict=True)
    ]


def _profile_of_each(profiles, num_items):
    """One profile, or None, for each item."""
    if not isinstance(profiles, list | tuple):
        profiles = [profiles] * num_items
    if len(profiles) != num_items:
        raise ValueError(
            f"Got {len(profiles)} profiles of {num_items} items; expected one for each, or one "
            "for all."
        )
    for profile in profiles:
        if profile is not None:
            _check_profile(profile)
    return profiles


def _check_profile(profile):
    if not isinstance(profile, Profile):
        raise TypeError(
            f"Got a {type(profile).__name__} for a profile; expected what `enroll` or "
            "`load_profile` gives."
        )


def _groups(profiles):
    """Batches of whole speakers with as many items each: pairs of profiles and items' places.

    Layers take as many items of each speaker, speaker after speaker; nothing is padded.
    """
    places = defaultdict(list)
    for place, profile in enumerate(profiles):
        places[profile].append(place)
    batches = defaultdict(list)
    for profile, own in places.items():
        batches[None if profile is None else len(own)].append(profile)
    return [
        (
            [profile for profile in batch if profile is not None],
            torch.tensor([place for profile in batch for place in places[profile]]),
        )
        for batch in batches.values()
    ]


def shipped_model(name):
    """The model of a shipped folder, to build on in another one.

    Example
    -------
    >>> type(shipped_model("pretrained/personal-keywords")).__name__
    'KeywordDetector'
    """
    return PersonalizedInterface.from_hparams(name).mods.model
