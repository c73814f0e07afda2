"""Quality of an enrollment utterance: is there speech in it, and is it whole?

Classical measures of the waveform alone, so that the check is the same for every model. The
thresholds were set on training speakers of both corpora; docs/design.md has the error rates.
"""

import math
from typing import NamedTuple

import torch

SILENT = "silence"
NOISE_ONLY = "noise only"
CLIPPED = "clipped"
BADLY_CLIPPED = "badly clipped"
WINDOW, HOP = 0.032, 0.010  # s


class Quality(NamedTuple):
    """What a check found.

    Arguments
    ---------
    score : float
        From 0 (bad) to 1 (good); below 0.5 there is a reason.
    reason : str
        What is wrong, in words; empty if nothing is.

    Example
    -------
    >>> Quality(0.0, SILENT).refused, Quality(0.2, CLIPPED).refused
    (True, False)
    """

    score: float
    reason: str = ""

    @property
    def refused(self):
        """Whether the utterance says too little about the speaker, and must not be enrolled."""
        return self.reason in (SILENT, NOISE_ONLY, BADLY_CLIPPED)


def assess(wav, sample_rate=16000):
    """Assesses an enrollment utterance of about 1 s.

    Arguments
    ---------
    wav : torch.Tensor
        Waveform, (L,), full scale at 1; zeros at its ends are padding.
    sample_rate : int
        In Hz.

    Returns
    -------
    Quality
        The worst check's.

    Example
    -------
    >>> assess(torch.zeros(16000))
    Quality(score=0.0, reason='silence')
    >>> from vofp_plugin.dataio.noise import coloured_noise
    >>> assess(0.1 * coloured_noise(16000, 1.0)).reason
    'noise only'
    """
    wav = _without_padding(wav)
    if len(wav) < 0.1 * sample_rate:
        return Quality(0.0, SILENT)
    power = _power_spectra(wav - wav.mean(), sample_rate)
    # Each measure is worth 0 at the first number and 1 at the second; half is the threshold.
    level = _ramp(_loudest(power), -70.0, -50.0)  # dB
    modulation = _ramp(_modulation(power, sample_rate), 5.0, 13.0)  # dB
    voicing = _ramp(_voicing(power, sample_rate), 0.09, 0.12)
    share_at_peak = _share_at_peak(wav)
    wholeness = _ramp(share_at_peak, 0.010, 0.0)
    if level < 0.5:
        return Quality(level, SILENT)
    if min(modulation, voicing) < 0.5:
        return Quality(min(modulation, voicing), NOISE_ONLY)
    if share_at_peak > 0.05:
        return Quality(wholeness, BADLY_CLIPPED)
    if wholeness < 0.5:
        return Quality(wholeness, CLIPPED)
    return Quality(min(level, modulation, voicing, wholeness))


def _without_padding(wav):
    """The waveform between its first and its last sample that is not zero."""
    heard = wav.nonzero()
    return wav[heard[0, 0] : heard[-1, 0] + 1] if len(heard) else wav[:0]


def _power_spectra(wav, sample_rate):
    """Power spectra of windowed frames, (T, bins), scaled to sum up to the mean square."""
    size = round(WINDOW * sample_rate)
    window = torch.hann_window(size)
    wav = torch.nn.functional.pad(wav, (0, max(0, 5 * size - len(wav))))
    frames = wav.unfold(0, size, round(HOP * sample_rate)) * window
    return 2 * torch.fft.rfft(frames, 2 * size).abs().square() / (2 * size * window.square().sum())


def _decibels(power):
    return 10 * power.clamp(min=1e-12).log10()


def _smooth(power):
    """Powers (T, bands) averaged over 5 frames."""
    return torch.nn.functional.avg_pool1d(power.t().unsqueeze(0), 5, 1)[0].t()


def _loudest(power):
    """Level of the loudest 50 ms, in dB of full scale."""
    return _decibels(_smooth(power.sum(1, keepdim=True)).max()).item()


def _frequencies(power, sample_rate):
    return torch.linspace(0, sample_rate / 2, power.shape[1])


def _modulation(power, sample_rate):
    """How far the loud moments (95 %) stand above the quiet ones (10 %), in dB.

    It is the mean of the four of twelve bands, 100 to 4,000 Hz, in which that is most: speech in
    noise stands out in some bands at least, steady noise in none.
    """
    frequencies = _frequencies(power, sample_rate)
    low, high = (math.log(1 + frequency / 700) for frequency in (100, 4000))
    edges = 700 * (torch.linspace(low, high, 13).exp() - 1)  # Hz, equally far apart in mel
    band = torch.bucketize(frequencies, edges) - 1
    bands = torch.stack([power[:, band == number].mean(1) for number in range(12)], dim=1)
    levels = _decibels(_smooth(bands))
    quiet, loud = torch.quantile(levels, torch.tensor([0.10, 0.95]), dim=0)
    return (loud - quiet).topk(4).values.mean().item()


def _voicing(power, sample_rate):
    """How periodic the most periodic 8 frames are, from 0 to 1.

    The autocorrelation at pitches of 80 to 400 Hz, of spectra that are compressed, so that no
    single tone or slope rules, and limited to where harmonics stand out of noise.
    """
    frequencies = _frequencies(power, sample_rate)
    harmonics = (frequencies > 80) & (frequencies < 2000)
    correlation = torch.fft.irfft(power.clamp(min=1e-20) ** 0.25 * harmonics)
    correlation = correlation / correlation[:, :1]
    lags = correlation[:, sample_rate // 400 : sample_rate // 80]
    return lags.max(dim=1).values.topk(min(8, len(lags))).values.mean().item()


def _share_at_peak(wav):
    """Share of the samples within 2 % of the largest: far more than a few when it is clipped."""
    size = wav.abs()
    return (size >= 0.98 * size.max()).float().mean().item()


def _ramp(value, bad, good):
    """From 0 at `bad` to 1 at `good`, straight between them."""
    return min(1.0, max(0.0, (value - bad) / (good - bad)))
