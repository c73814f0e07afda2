"""Audio: files and waveforms read in one place, and refused where nothing could be made of them."""

from pathlib import Path

import numpy as np
import torch
import torchaudio
from speechbrain.utils.logger import get_logger

from vofp_plugin.dataio.decoding import decode

logger = get_logger(__name__)


AUDIO_SUFFIXES = (".wav", ".flac")
SHORTEST = 0.1  # s, of what may be enrolled or asked
HIGHEST_PEAK = 4.0  # of a waveform that may have been amplified, with full scale at 1


def audio_files(folder):
    """Recordings in a folder and its subfolders, sorted; hidden ones are none.

    Example
    -------
    >>> audio_files(getfixture("tmp_path"))
    []
    """
    folder = Path(folder)
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def read_audio(path, sample_rate=16000):
    """Reads a mono audio file and refuses what training could not use.

    Arguments
    ---------
    path : str or Path
        As for `decode`.
    sample_rate : int
        The only sampling rate accepted, in Hz.

    Returns
    -------
    numpy.ndarray
        The samples, float32, (L,). Digital silence is allowed.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        As `decode`, or if the file has another rate or more than one channel, or samples that are
        no numbers of full scale 1.

    Example
    -------
    >>> import soundfile
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> soundfile.write(path, [0.0] * 8000, 16000)
    >>> read_audio(path).shape
    (8000,)
    """
    samples, rate = decode(path)
    if rate != sample_rate:
        raise ValueError(
            f"Audio file {path} has {rate} Hz; expected {sample_rate} Hz. Resample it, or, if all "
            f"files have that rate, set --sample_rate={rate}."
        )
    if samples.shape[1] != 1:
        raise ValueError(
            f"Audio file {path} has {samples.shape[1]} channels; expected 1. Mix it down to mono."
        )
    _check_samples(samples, path)
    return samples[:, 0]


def load_audio(path, sample_rate=16000, longest=None):
    """Reads an audio file of any rate and number of channels, resampled and mixed down.

    Says so where it had to convert.

    Arguments
    ---------
    path : str or Path
        As for `decode`.
    sample_rate : int
        Of what is returned, in Hz.
    longest : float
        As for `decode`.

    Returns
    -------
    torch.Tensor
        The samples, (L,).

    Raises
    ------
    FileNotFoundError, ValueError
        As `decode`, or if the samples are no numbers of full scale 1.

    Example
    -------
    >>> import soundfile
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> soundfile.write(path, np.zeros((8000, 2)), 8000)
    >>> load_audio(path).shape
    torch.Size([16000])
    """
    samples, rate = decode(path, longest)
    _check_samples(samples, path)
    channels = samples.shape[1]
    if (channels, rate) != (1, sample_rate):
        logger.warning(
            "%s has %d channels of %d Hz; it is read as one of %d Hz.",
            *(path, channels, rate, sample_rate),
        )
    mono = torch.from_numpy(samples).mean(dim=1)
    return torchaudio.functional.resample(mono, rate, sample_rate)


def _check_samples(samples, path):
    """Refuses samples that are no numbers, or not of full scale 1."""
    if not np.isfinite(samples).all():
        raise ValueError(f"Audio file {path} holds NaN or infinite samples. Restore or delete it.")
    peak = np.abs(samples).max()
    if peak > HIGHEST_PEAK:
        raise ValueError(
            f"Audio file {path} has samples of {peak:g}; expected full scale at 1: divide floats "
            "in the scale of 16-bit integers by 32768."
        )


def check_wavs(wavs, name, front_end):
    """Refuses what are no waveforms of one channel, in float samples of full scale 1.

    Says so where a third or more of one will not be read, since it is longer than a clip.

    Arguments
    ---------
    wavs : list of torch.Tensor
        (L,) each.
    name : str
        Of one of them, for the message.
    front_end : FrontEnd

    Raises
    ------
    TypeError
        If one is no float tensor.
    ValueError
        If one has another shape, is too short, holds NaN, or is far above full scale.

    Example
    -------
    >>> from vofp_plugin.dataio.front_end import FrontEnd
    >>> check_wavs([torch.zeros(16000)], "Query", FrontEnd(None))
    """
    for number, wav in enumerate(wavs, start=1):
        check_wav(wav, f"{name} {number}")
        check_length(wav, f"{name} {number}", front_end.sample_rate)
        if front_end.is_long(len(wav)):
            logger.warning(
                "%s %d has %.1f s, of which the loudest %.1f s are read: cut out the word.",
                name,
                number,
                len(wav) / front_end.sample_rate,
                front_end.num_samples / front_end.sample_rate,
            )


def check_length(wav, name, sample_rate):
    """Refuses a waveform (L,) that is too short for a word, with ValueError."""
    if len(wav) < SHORTEST * sample_rate:
        raise ValueError(
            f"{name} has {len(wav) / sample_rate:.3f} s; expected at least {SHORTEST} s, about one "
            "word: record it again."
        )


def check_wav(wav, name):
    """Refuses what is no waveform (L,), whatever its length; errors are those of `check_wavs`."""
    if not isinstance(wav, torch.Tensor) or not wav.is_floating_point():
        got = f"a tensor of {wav.dtype}" if isinstance(wav, torch.Tensor) else type(wav).__name__
        raise TypeError(f"{name} is {got}; expected a float tensor (L,), full scale at 1.")
    if wav.dim() != 1:
        raise ValueError(f"{name} has shape {tuple(wav.shape)}; expected (L,): take one channel.")
    if len(wav) == 0:
        raise ValueError(f"{name} is empty; expected about 1 s of speech: record it again.")
    if not wav.isfinite().all():
        raise ValueError(f"{name} holds NaN or infinite samples: record it again.")
    peak = wav.abs().max().item()
    if peak > HIGHEST_PEAK:
        raise ValueError(
            f"{name} has samples of {peak:g}; expected full scale at 1: divide 16-bit integers by "
            "32768."
        )
