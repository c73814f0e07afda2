"""Level: waveforms brought to one, so that no answer depends on how loud a recording is."""

import torch

LOUDEST = -20.0  # dB of full scale, of the loudest moment
FAINTEST = -100.0  # dB of full scale; what is fainter is not raised to `LOUDEST`
MOMENT, STEP = 0.100, 0.010  # s


def amplitude(level):
    """Amplitude of a level in dB.

    Example
    -------
    >>> amplitude(-20.0)
    0.1
    """
    return 10 ** (level / 20)


def to_one_level(wavs, sample_rate):
    """Brings the loudest moment of every waveform to the same level.

    Speech stands highest above noise in its loudest moment, so noise changes that level little.
    An offset does not count.

    Arguments
    ---------
    wavs : torch.Tensor
        (B, L).
    sample_rate : int
        In Hz.

    Returns
    -------
    torch.Tensor
        (B, L).

    Example
    -------
    >>> wavs = 0.1 * torch.randn(2, 16000)
    >>> torch.allclose(to_one_level(wavs, 16000), to_one_level(0.01 * wavs, 16000), atol=1e-5)
    True
    """
    size = min(wavs.shape[1], round(MOMENT * sample_rate))
    step = max(1, round(STEP * sample_rate))

    def moments(values):
        return torch.nn.functional.avg_pool1d(values.unsqueeze(1), size, step).squeeze(1)

    power = moments(wavs.square()) - moments(wavs).square()
    loudest = power.amax(dim=1, keepdim=True).clamp(min=10 ** (FAINTEST / 10))
    return wavs * (10 ** (LOUDEST / 10) / loudest).sqrt()
