"""Front end: clips of one length and their features."""

import json

import torch
from speechbrain.lobes.features import Fbank
from speechbrain.processing.features import InputNormalization

from vofp_plugin.dataio.audio import read_audio
from vofp_plugin.dataio.level import to_one_level
from vofp_plugin.dataio.window import loudest_window

LOG_MEL_DB = "log_mel_db"  # log-mels in dB, neither normalized nor with derivatives


class FrontEnd:
    """Reads clips of one length and computes their features.

    Arguments
    ---------
    compute_features : callable
        Waveforms (B, L) to features (B, T, F), e.g. SpeechBrain's Fbank.
    sample_rate : int
        In Hz.
    clip_duration : float
        In s; of a longer clip the loudest stretch is kept, a shorter one is followed by zeros.

    Raises
    ------
    ValueError
        If the features depend on statistics of training, which no cache may hold.

    Example
    -------
    >>> from speechbrain.lobes.features import Fbank
    >>> front_end = FrontEnd(Fbank(n_mels=40))
    >>> front_end.fit(torch.ones(12000)).shape
    torch.Size([16000])
    """

    def __init__(self, compute_features, sample_rate=16000, clip_duration=1.0):
        _check_stateless(compute_features)
        self.compute_features = compute_features
        self.sample_rate = sample_rate
        self.num_samples = round(sample_rate * clip_duration)

    def read(self, row):
        """Reads the clip of a manifest row: (L,)."""
        start, stop = int(row["start"]), int(row["stop"])
        samples = read_audio(row["wav"], self.sample_rate)
        if len(samples) < stop:
            raise ValueError(
                f"Audio file {row['wav']} has {len(samples)} samples; expected {stop} as the "
                "manifest says: prepare again."
            )
        return self.fit(torch.from_numpy(samples[start:stop]))

    def fit(self, wav):
        """Cuts or pads a clip (L,) to the length of all clips."""
        return loudest_window(wav.unsqueeze(0), self.num_samples, self.sample_rate)[0]

    @property
    def space(self):
        """Name of the space of the features: ``LOG_MEL_DB``, or the class that computes others."""
        computer = self.compute_features
        in_decibels = isinstance(computer, Fbank) and not (computer.deltas or computer.context)
        return LOG_MEL_DB if in_decibels else type(computer).__name__

    def check_space(self, augmentation):
        """Refuses an augmentation whose `space` is not that of the features."""
        needed = getattr(augmentation, "space", self.space)
        if needed != self.space:
            raise ValueError(
                f"{type(augmentation).__name__} changes features in the space {needed}; the front "
                f"end computes {self.space}: leave it out of `augmentations`, or normalize in the "
                "main model."
            )

    def is_long(self, length):
        """Whether so much of a clip of `length` samples is left out that it must be told."""
        return length >= 1.5 * self.num_samples

    def relative_length(self, row):
        """Share of the fixed length that the clip of a row fills, in (0, 1]."""
        return min(1.0, (int(row["stop"]) - int(row["start"])) / self.num_samples)

    @torch.no_grad()
    def __call__(self, wavs):
        """Computes features (B, T, F) of clips (B, L), all brought to one level."""
        return self.compute_features(to_one_level(wavs, self.sample_rate))

    def fingerprint(self, noise_condition=None):
        """What is made of fixed clips, too long and too short, as text.

        Changes when any setting does, and when the code does.
        """
        length, part = self.num_samples, self.num_samples // 5
        signal = torch.randn(length + part, generator=torch.Generator().manual_seed(0))
        # All but silent at the ends, and loudest neither there nor in the middle.
        loudest = length / 2 + 0.7 * part
        signal *= 10 ** (-10 * (torch.arange(len(signal)) - loudest).abs() / len(signal))
        clips = [self.fit(signal), self.fit(signal[: length - part])]
        if noise_condition is not None:
            clips = [noise_condition.add(clip, {"ID": "", "spk_id": ""}) for clip in clips]
        rounded = (self(torch.stack(clips)).double() * 100).round().sum(dim=1).tolist()
        return json.dumps([self.sample_rate, length, rounded])


def _check_stateless(compute_features):
    parts = compute_features.modules() if isinstance(compute_features, torch.nn.Module) else ()
    for part in parts:
        if isinstance(part, InputNormalization) and part.norm_type == "global":
            raise ValueError(
                "Got a front end with a global InputNormalization, whose statistics are not saved "
                "with the model; expected it in the main model, as `EncoderClassifier` takes it."
            )
