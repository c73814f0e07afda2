"""Window: where in a recording the word is, by operations on tensors that can be exported."""

import torch

SEARCH_STEP = 0.010  # s, from window to window in a long clip


def loudest_window(wavs, length, sample_rate):
    """Cuts the loudest stretch out of long waveforms, and adds zeros to short ones.

    Loud is what has much amplitude around it: a word, rather than a click of more energy. The
    stretch has it in its middle. Where nothing is loudest, the middle of the waveform is kept.

    Arguments
    ---------
    wavs : torch.Tensor
        (B, L).
    length : int
        Of the window, in samples.
    sample_rate : int
        In Hz.

    Returns
    -------
    torch.Tensor
        (B, length).

    Example
    -------
    >>> wav = torch.zeros(1, 48000)
    >>> wav[0, 36000:40000] = 1.0
    >>> window = loudest_window(wav, 16000, 16000)
    >>> window.shape, bool(window.sum() == wav.sum())
    (torch.Size([1, 16000]), True)
    """
    hop = max(1, round(SEARCH_STEP * sample_rate))
    centred = wavs.float() - wavs.float().mean(dim=1, keepdim=True)
    starts, loudness = _loudness(torch.nn.functional.pad(centred, (0, length)), length, hop)
    surplus = torch.scalar_tensor(wavs.shape[1] - length, device=wavs.device).clamp(min=0).long()
    loudness = loudness.masked_fill(starts > surplus, -1.0)
    highest, place = loudness.max(dim=1)
    lowest = torch.where(starts > surplus, highest.unsqueeze(1), loudness).amin(dim=1)
    start = torch.where(highest - lowest <= 1e-6 * highest, surplus // 2, starts[place])
    padded = torch.nn.functional.pad(wavs, (0, length))
    # Of all its samples, or an exported file holds the numbers of a window.
    samples = torch.arange(padded.shape[1], device=wavs.device)[:length]
    return padded.gather(1, start.unsqueeze(1) + samples)


def _loudness(wavs, length, hop):
    """Starts (W,) of windows and how loud each is around its middle, (B, W)."""
    wavs = wavs.unsqueeze(1)
    if hop > 1:
        # A convolution, since torch.export ties a pooling to the remainder of a length.
        mean = wavs.new_full((1, 1, hop), 1 / hop)
        first, second = (
            torch.nn.functional.conv1d(x, mean, stride=hop) for x in (wavs, wavs.square())
        )
        power = second - first.square()
        amplitude = power.clamp(min=0).sqrt()
    else:
        amplitude = wavs.abs()
    size = max(1, length // hop)
    phases = torch.pi * torch.arange(1, size + 1, device=wavs.device) / (size + 1)
    weights = phases.sin().square().view(1, 1, size)  # Hann's
    loudness = torch.nn.functional.conv1d(amplitude, weights).squeeze(1)
    return hop * torch.arange(loudness.shape[1], device=wavs.device), loudness
