"""Front end: clips of one length and their features."""

import json

import torch
from speechbrain.dataio import audio_io
from speechbrain.processing.features import InputNormalization


class FrontEnd:
    """Reads clips of one length and computes their features.

    Arguments
    ---------
    compute_features : callable
        Waveforms (B, L) to features (B, T, F), e.g. SpeechBrain's Fbank.
    sample_rate : int
        In Hz.
    clip_duration : float
        In s; a longer clip is cut at both ends, a shorter one followed by zeros.

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
        wav, rate = audio_io.load(row["wav"], frame_offset=start, num_frames=stop - start)
        if rate != self.sample_rate:
            raise ValueError(
                f"{row['wav']} has {rate} Hz; expected {self.sample_rate} Hz: resample it."
            )
        if wav.numel() == 0 or not torch.isfinite(wav).all():
            raise ValueError(f"{row['wav']} is empty or holds NaN; remove it and prepare again.")
        if wav.shape != (1, stop - start):
            raise ValueError(
                f"{row['wav']} has {wav.shape[0]} channels and {wav.shape[1]} samples from {start} "
                f"on; expected one channel, and samples until {stop} as the manifest says."
            )
        return self.fit(wav[0])

    def fit(self, wav):
        """Cuts or pads a clip (L,) to the length of all clips."""
        surplus = len(wav) - self.num_samples
        if surplus > 0:
            return wav[surplus // 2 : surplus // 2 + self.num_samples]
        return torch.nn.functional.pad(wav, (0, -surplus))

    def relative_length(self, row):
        """Share of the fixed length that the clip of a row fills, in (0, 1]."""
        return min(1.0, (int(row["stop"]) - int(row["start"])) / self.num_samples)

    @torch.no_grad()
    def __call__(self, wavs):
        """Computes features (B, T, F) of clips (B, L)."""
        return self.compute_features(wavs)

    def fingerprint(self, noise_condition=None):
        """What is made of fixed clips, too long and too short, as text.

        Changes when any setting does, and when the code does.
        """
        length, part = self.num_samples, self.num_samples // 5
        signal = torch.randn(length + part, generator=torch.Generator().manual_seed(0))
        signal *= 10 ** torch.linspace(0, -6, len(signal))  # from loud to all but silent
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
