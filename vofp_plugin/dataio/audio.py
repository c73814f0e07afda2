"""Audio: files and waveforms read in one place, and refused where nothing could be made of them."""

from pathlib import Path

import numpy as np
import soundfile
import torch
from speechbrain.utils.logger import get_logger

logger = get_logger(__name__)


AUDIO_SUFFIXES = (".wav", ".flac")


def read_audio(path, sample_rate=16000):
    """Reads a mono audio file and refuses what training could not use.

    Arguments
    ---------
    path : str or Path
        File in a format that soundfile reads (wav, flac, ogg).
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
        If the file is undecodable, cut off or empty, has another rate or more than one channel, or
        holds NaN or infinite samples.

    Example
    -------
    >>> path = getfixture("tmp_path") / "a.wav"
    >>> soundfile.write(path, [0.0] * 8000, 16000)
    >>> read_audio(path).shape
    (8000,)
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"Audio file {path} does not exist; expected a wav or flac file.")
    if path.stat().st_size == 0:
        raise ValueError(f"Audio file {path} is empty (0 bytes). Restore or delete it.")
    try:
        with soundfile.SoundFile(path) as file:
            _check_format(path, file, sample_rate)
            samples = file.read(dtype="float32")
    except soundfile.SoundFileError as error:
        raise ValueError(
            f"Audio file {path} cannot be decoded ({error}). Restore or delete it."
        ) from error
    if not np.isfinite(samples).all():
        raise ValueError(f"Audio file {path} holds NaN or infinite samples. Restore or delete it.")
    return samples


def _check_format(path, file, sample_rate):
    """Refuses an open sound file by what its header says."""
    if file.samplerate != sample_rate:
        raise ValueError(
            f"Audio file {path} has {file.samplerate} Hz; expected {sample_rate} Hz. Resample it."
        )
    if file.channels != 1:
        raise ValueError(
            f"Audio file {path} has {file.channels} channels; expected 1. Mix it down to mono."
        )
    if "should be" in file.extra_info:  # what libsndfile says of a WAV that ends too early
        raise ValueError(
            f"Audio file {path} is cut off: its header tells of more samples. Restore or delete it."
        )
    if file.frames == 0:
        raise ValueError(f"Audio file {path} is empty (0 samples). Restore or delete it.")


HIGHEST_PEAK = 4.0  # of a waveform that may have been amplified, with full scale at 1


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
        If one has another shape, is empty, holds NaN, or is far above full scale.

    Example
    -------
    >>> from vofp_plugin.dataio.front_end import FrontEnd
    >>> check_wavs([torch.zeros(16000)], "Query", FrontEnd(None))
    """
    for number, wav in enumerate(wavs, start=1):
        _check_wav(wav, f"{name} {number}")
        if len(wav) >= 1.5 * front_end.num_samples:
            logger.warning(
                "%s %d has %.1f s, of which the middle %.1f s are read: cut out the word.",
                name,
                number,
                len(wav) / front_end.sample_rate,
                front_end.num_samples / front_end.sample_rate,
            )


def _check_wav(wav, name):
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
