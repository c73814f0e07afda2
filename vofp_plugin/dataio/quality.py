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
# Of the loudest 50 ms, in dB of full scale: what is fainter says nothing; what is no speech is
# called noise from the second on, and silence below it.
FAINTEST, LOUD = -70.0, -60.0


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
    """Assesses an enrollment utterance of about 1 s, whatever its level and offset.

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
    loudest = _smooth(power.sum(1, keepdim=True)).max()
    level = _decibels(loudest).item()
    if level < FAINTEST:
        return Quality(0.0, SILENT)
    speech = _speech(power / loudest, sample_rate)
    if speech < 0.5:
        return Quality(speech, NOISE_ONLY if level >= LOUD else SILENT)
    share_at_peaks = _share_at_peaks(wav)
    wholeness = _ramp(share_at_peaks, 0.010, 0.0)
    if share_at_peaks > 0.05:
        return Quality(wholeness, BADLY_CLIPPED)
    if wholeness < 0.5:
        return Quality(wholeness, CLIPPED)
    return Quality(min(speech, wholeness))


def _speech(power, sample_rate):
    """How sure it is that there is speech: it comes and goes, and is voiced or whispered."""
    levels = _band_levels(power, sample_rate)
    modulation = _modulation(levels)
    # Each measure is worth 0 at the first number and 1 at the second; half is the threshold.
    voiced = min(
        _ramp(modulation, 5.0, 13.0),  # dB
        _ramp(_voicing(power, sample_rate), 0.09, 0.12),
    )
    whispered = min(
        _ramp(modulation, 15.0, 27.0),  # dB; in noise it is like gusts
        _ramp(_articulation(power, levels, sample_rate), 1.5, 3.5),  # dB
    )
    return max(voiced, whispered)


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


def _frequencies(power, sample_rate):
    return torch.linspace(0, sample_rate / 2, power.shape[1])


def _band_levels(power, sample_rate):
    """Levels in twelve bands, 100 to 4,000 Hz, averaged over 50 ms, (T, 12), in dB."""
    frequencies = _frequencies(power, sample_rate)
    low, high = (math.log(1 + frequency / 700) for frequency in (100, 4000))
    edges = 700 * (torch.linspace(low, high, 13).exp() - 1)  # Hz, equally far apart in mel
    band = torch.bucketize(frequencies, edges) - 1
    bands = torch.stack([power[:, band == number].mean(1) for number in range(12)], dim=1)
    return _decibels(_smooth(bands))


def _modulation(levels):
    """How far the loud moments (95 %) stand above the quiet ones (10 %), in dB.

    It is the mean of the four bands in which that is most: speech in noise stands out in some bands
    at least, steady noise in none.
    """
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


def _articulation(power, levels, sample_rate):
    """How much the spectrum changes from one loud moment to another, in dB.

    That is where whispered speech, which has no pitch, differs from knocks and gusts.
    """
    audible = power[:, _frequencies(power, sample_rate) > 300].sum(1, keepdim=True)
    loudness = _decibels(_smooth(audible))[:, 0]
    quiet, loud = torch.quantile(loudness, torch.tensor([0.10, 0.95]))
    shapes = levels[loudness >= torch.maximum(loud - 12, (quiet + loud) / 2)]
    return (shapes - shapes.mean(1, keepdim=True)).std(0, unbiased=False).mean().item()


def _share_at_peaks(wav):
    """Share of the samples next to the highest and the lowest: far more than a few if clipped."""
    low, high = wav.min(), wav.max()
    near = 0.01 * (high - low)
    return ((wav <= low + near) | (wav >= high - near)).float().mean().item()


def _ramp(value, bad, good):
    """From 0 at `bad` to 1 at `good`, straight between them."""
    return min(1.0, max(0.0, (value - bad) / (good - bad)))
