"""Noise: recorded or coloured, mixed to a signal-to-noise ratio."""

from pathlib import Path

import torch

from vofp_plugin.dataio.audio import audio_files, read_audio

COLOURS = {"white": 0.0, "pink": 1.0, "brown": 2.0}  # power falls as 1 / frequency ** exponent
PARTS = ("train", "test")


def check_noises(noise_folder, sample_rate, shortest):
    """Refuses the noises of a folder that cannot be used, all at once and by name.

    Arguments
    ---------
    noise_folder : str, Path or None
        None and a folder that is not there yet, since preparing may bring it, are passed over.
    sample_rate : int
        In Hz.
    shortest : int
        Samples that a noise must have: those of two clips, one for each half.

    Raises
    ------
    ValueError
        If a noise cannot be read, is silent for a second or more, or is too short.

    Example
    -------
    >>> check_noises(None, sample_rate=16000, shortest=32000)
    """
    if noise_folder is None or not Path(noise_folder).is_dir():
        return
    errors = []
    for path in _files(noise_folder):
        try:
            length = len(_read(path, sample_rate))
            if length < shortest:
                raise ValueError(f"{path} has {length} samples; expected at least {shortest}.")
        except (OSError, ValueError) as error:
            errors.append(str(error))
    if errors:
        raise ValueError(
            f"Got {len(errors)} noises in {noise_folder} that cannot be used: " + " ".join(errors)
        )


def load_noises(noise_folder, part, sample_rate=16000, seconds=30.0):
    """Loads the noises of a folder, or makes coloured ones.

    The first half of every noise is for training, the second half for validation and test.

    Arguments
    ---------
    noise_folder : str, Path or None
        Folder of wav or flac files, in subfolders too; None makes white, pink and brown noise.
    part : str
        "train" or "test".
    sample_rate : int
        In Hz.
    seconds : float
        Length of each coloured noise, before it is halved.

    Returns
    -------
    list of torch.Tensor
        (L,) each.

    Raises
    ------
    FileNotFoundError
        If the folder holds no wav or flac file.
    ValueError
        If a file is one that `read_audio` refuses, or is silent for a second or more.

    Example
    -------
    >>> [len(noise) for noise in load_noises(None, "test", seconds=2.0)]
    [16000, 16000, 16000]
    """
    if part not in PARTS:
        raise ValueError(f"Got part {part!r}; expected one of {PARTS}.")
    if noise_folder is None:
        generator = torch.Generator().manual_seed(0)
        length = int(seconds * sample_rate)
        noises = [coloured_noise(length, exp, generator) for exp in COLOURS.values()]
    else:
        noises = [_read(path, sample_rate) for path in _files(noise_folder)]
    halves = [noise.tensor_split(2) for noise in noises]
    return [half[PARTS.index(part)] for half in halves]


def noise_names(noise_folder):
    """Names of the noises that `load_noises` gives.

    Example
    -------
    >>> noise_names(None)
    ['white', 'pink', 'brown']
    """
    if noise_folder is None:
        return list(COLOURS)
    return [path.relative_to(noise_folder).as_posix() for path in _files(noise_folder)]


def coloured_noise(length, exponent, generator=None):
    """Makes noise whose power falls as 1 / frequency ** exponent, with unit power.

    Arguments
    ---------
    length : int
        Samples L.
    exponent : float
        0 is white, 1 pink, 2 brown.
    generator : torch.Generator

    Returns
    -------
    torch.Tensor
        (L,).

    Example
    -------
    >>> round(coloured_noise(16000, 1.0).square().mean().item(), 3)
    1.0
    """
    spectrum = torch.fft.rfft(torch.randn(length, generator=generator))
    frequency = torch.arange(len(spectrum)).clamp(min=1)
    noise = torch.fft.irfft(spectrum * frequency ** (-exponent / 2), n=length)
    return noise / noise.square().mean().sqrt()


def random_chunks(noise, length, count, generator=None):
    """Cuts `count` chunks of `length` samples at random places: (count, length)."""
    if len(noise) < length:
        raise ValueError(
            f"Got a noise of {len(noise)} samples; expected at least {length}, as long as a clip: "
            "use longer noises (each is cut in two halves, for training and test)."
        )
    starts = torch.randint(0, len(noise) - length + 1, (count,), generator=generator)
    return torch.stack([noise[start : start + length] for start in starts])


def mix(wavs, noises, snr):
    """Adds noise to speech.

    Arguments
    ---------
    wavs : torch.Tensor
        (B, L).
    noises : torch.Tensor
        (B, L), of any level.
    snr : torch.Tensor
        Signal-to-noise ratio of each item, (B,), in dB.

    Returns
    -------
    torch.Tensor
        (B, L).

    Example
    -------
    >>> mixed = mix(torch.ones(1, 4), torch.full((1, 4), 5.0), torch.tensor([20.0]))
    >>> mixed[0, 0].item()
    1.100000023841858
    """
    ratio = _power(wavs) / _power(noises).clamp(min=1e-12)
    gain = (ratio * 10 ** (-snr.unsqueeze(1) / 10)).sqrt()
    return wavs + gain * noises


def _power(wavs):
    return wavs.square().mean(dim=1, keepdim=True)


def _files(noise_folder):
    files = audio_files(noise_folder)
    if not files:
        raise FileNotFoundError(
            f"Found no .wav or .flac file in {noise_folder}; give a folder of noises, or "
            "--noise_folder=null for coloured noise."
        )
    return files


def _read(path, sample_rate):
    noise = torch.from_numpy(read_audio(path, sample_rate))
    if not noise.any():
        raise ValueError(f"{path} is silent; expected noise: take it out.")
    sounds = torch.cat([torch.tensor([-1]), noise.nonzero()[:, 0], torch.tensor([len(noise)])])
    silence = sounds.diff().max().item() - 1
    if silence >= sample_rate:
        raise ValueError(
            f"{path} is silent for {silence / sample_rate:.1f} s; expected noise in every second, "
            "or clips would stay without it: cut the silence out."
        )
    return noise
