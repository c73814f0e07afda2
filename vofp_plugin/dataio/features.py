"""Features computed once: log-mels of every utterance of a manifest, cached on disk.

A cache is one array (utterances, T, F) in the order of the manifest. Its name is a digest of the
audio files (path, size, time), the front end and the noise, so a changed input makes a new one, and
so does changed code.
"""

import hashlib
import json
from pathlib import Path

import numpy as np
import torch
from speechbrain.dataio import audio_io
from speechbrain.utils.logger import get_logger
from tqdm import tqdm

from vofp_plugin.dataio.noise import mix, random_chunks
from vofp_plugin.utils.files import whole_file
from vofp_plugin.utils.seeds import choice_of, seeded

logger = get_logger(__name__)


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

    Example
    -------
    >>> from speechbrain.lobes.features import Fbank
    >>> front_end = FrontEnd(Fbank(n_mels=40))
    >>> front_end.fit(torch.ones(12000)).shape
    torch.Size([16000])
    """

    def __init__(self, compute_features, sample_rate=16000, clip_duration=1.0):
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


class NoiseCondition:
    """Noise of the utterances of a manifest, of one kind for each speaker, drawn once for all.

    Arguments
    ---------
    noises : list of torch.Tensor
        (L,) each, longer than a clip; a speaker has one of them.
    snr : list of float
        Lowest and highest signal-to-noise ratio, in dB.

    Example
    -------
    >>> condition = NoiseCondition([torch.rand(100), torch.rand(100)], [5.0, 10.0])
    >>> row = {"ID": "up_1", "spk_id": "anna"}
    >>> condition.add(torch.rand(50), row).shape
    torch.Size([50])
    """

    def __init__(self, noises, snr):
        self.noises = noises
        self.snr = snr

    def add(self, wav, row):
        """Adds noise to the clip (L,) of a manifest row."""
        noise = choice_of(self.noises, row["spk_id"])
        generator = seeded(row["ID"])
        chunk = random_chunks(noise, len(wav), 1, generator)
        low, high = self.snr
        snr = low + (high - low) * torch.rand(1, generator=generator)
        return mix(wav.unsqueeze(0), chunk, snr)[0]

    def fingerprint(self):
        """What tells this condition from others, as text."""
        noises = [noise.double().abs().sum().item() for noise in self.noises]
        return json.dumps([self.snr, noises])


def cached_features(rows, front_end, cache_folder, noise_condition=None, batch_size=64):
    """Features of every utterance, computed on first use.

    Arguments
    ---------
    rows : list of dict
        Manifest rows.
    front_end : FrontEnd
    cache_folder : str or Path
    noise_condition : NoiseCondition
        None leaves the clips as they are.
    batch_size : int
        Clips computed at a time.

    Returns
    -------
    numpy.ndarray
        (utterances, T, F), float16, mapped from disk, in the order of `rows`.
    """
    path = Path(cache_folder) / f"{cache_key(rows, front_end, noise_condition)}.npy"
    return cached_array(path, lambda: _compute(rows, front_end, noise_condition, batch_size))


def cached_array(path, compute):
    """The array in the file `path`, mapped from disk; `compute` gives it where there is none."""
    if not path.exists():
        logger.info("Computing %s", path)
        path.parent.mkdir(parents=True, exist_ok=True)  # or it fails after all the work
        # Computed first: an error of reading is none of writing, as which `whole_file` tells it.
        array = compute()
        with whole_file(path) as partial, open(partial, "wb") as stream:
            np.save(stream, array)
    try:
        return np.load(path, mmap_mode="r")
    except (ValueError, EOFError) as error:
        raise ValueError(
            f"Cannot read the cached array {path} ({error}); delete that file and start again."
        ) from error


def _compute(rows, front_end, noise_condition, batch_size):
    features = []
    for start in tqdm(range(0, len(rows), batch_size), desc="Features", unit="batch"):
        batch = rows[start : start + batch_size]
        wavs = [front_end.read(row) for row in batch]
        if noise_condition is not None:
            wavs = [noise_condition.add(wav, row) for wav, row in zip(wavs, batch, strict=True)]
        features.append(front_end(torch.stack(wavs)).half().numpy())
    return np.concatenate(features)


def cache_key(rows, front_end, noise_condition):
    """Digest of all that the features of manifest rows depend on."""
    digest = hashlib.sha256(front_end.fingerprint(noise_condition).encode())
    if noise_condition is not None:
        digest.update(noise_condition.fingerprint().encode())
    for row in rows:
        stat = Path(row["wav"]).stat()
        facts = [row[key] for key in ("ID", "wav", "start", "stop", "spk_id")]
        digest.update(json.dumps([*map(str, facts), stat.st_size, stat.st_mtime]).encode())
    return digest.hexdigest()[:24]
