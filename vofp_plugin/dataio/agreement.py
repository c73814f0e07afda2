"""Agreement of enrollment utterances: do they sound like one speaker?

What is kept of an utterance is its mean cepstrum, how the cepstrum moves within it, and its
pitch. Two utterances differ by the distance of their means, in units of that movement: saying
another word moves the mean where speech moves anyway, another speaker moves it elsewhere too.
No model is asked, and nothing is trained.
"""

import math
from functools import lru_cache
from typing import NamedTuple

import torch
from speechbrain.lobes.features import Fbank

from vofp_plugin.dataio.quality import Quality

TWO_SPEAKERS_REASON = "two speakers or two microphones"  # or rooms: they sound alike
NUM_MELS, NUM_CEPSTRA = 40, 12
PITCH_STD = 0.27  # octaves, of utterances of one training speaker
LOUD_FRAMES = 50


class VoiceStatistics(NamedTuple):
    """What is kept of an utterance to tell speakers apart.

    Arguments
    ---------
    mean : torch.Tensor
        Mean cepstrum of the loud frames, (12,), in dB.
    covariance : torch.Tensor
        Of the cepstra of these frames, (12, 12), in dB^2.
    pitch : torch.Tensor
        Median, (), in octaves above 1 Hz.
    range : torch.Tensor
        Of the loud frames above the noise floor, (), in dB.
    """

    mean: torch.Tensor
    covariance: torch.Tensor
    pitch: torch.Tensor
    range: torch.Tensor


BLANK_VOICE = VoiceStatistics(  # tells the shapes
    torch.zeros(NUM_CEPSTRA),
    torch.zeros(NUM_CEPSTRA, NUM_CEPSTRA),
    torch.zeros(()),
    torch.zeros(()),
)


def voice_of(wav, sample_rate=16000):
    """Describes the voice of an utterance.

    Arguments
    ---------
    wav : torch.Tensor
        Waveform, (L,), of about 1 s.
    sample_rate : int
        In Hz.

    Returns
    -------
    VoiceStatistics

    Example
    -------
    >>> time = torch.arange(16000) / 16000
    >>> pulses = (torch.sin(2 * math.pi * 128 * time) > 0.9).float()
    >>> voice_of(pulses).pitch.round()
    tensor(7.)
    """
    wav = wav - wav.mean()
    wav = wav / wav.abs().max().clamp(min=1e-9)
    levels = _mel_levels(sample_rate)(wav.unsqueeze(0))[0]
    loud = levels[levels.mean(1).topk(min(LOUD_FRAMES, len(levels))).indices]
    cepstra = loud @ _cosines()
    mean = cepstra.mean(0)
    deviation = cepstra - mean
    loudest = levels.mean(1).topk(max(1, len(levels) // 4)).values.mean()
    floor = torch.quantile(levels, 0.1, dim=0).mean()
    return VoiceStatistics(
        mean,
        deviation.t() @ deviation / len(deviation),
        _pitch(wav, sample_rate),
        (loudest - floor).clamp(min=5.0),
    )


def assess_agreement(voices):
    """Assesses whether utterances are of one speaker.

    One second is little to tell speakers by: see docs/design.md for how often this fails.

    Arguments
    ---------
    voices : list of VoiceStatistics
        Of K utterances with speech.

    Returns
    -------
    Quality
        Good for fewer than two utterances.

    Example
    -------
    >>> assess_agreement([])
    Quality(score=1.0, reason='')
    """
    if len(voices) < 2:
        return Quality(1.0)
    # Alike at 5 % false alarms for 2, 3 and 5 utterances: a mean over more pairs varies less.
    threshold = 12 + 72 / len(voices)
    score = max(0.0, 1 - _disagreement(voices) / (2 * threshold))
    return Quality(score, TWO_SPEAKERS_REASON if score < 0.5 else "")


def _disagreement(voices):
    """Mean over all pairs of utterances of their squared distance, in variances."""
    mean, covariance, pitch, span = (torch.stack(parts) for parts in zip(*voices, strict=True))
    factor = torch.linalg.cholesky(covariance.mean(0) + torch.eye(NUM_CEPSTRA))
    whitened = torch.linalg.solve_triangular(factor, mean.t(), upper=False).t()
    # Noise fills up spectra, which brings the means nearer.
    distances = torch.cdist(whitened, whitened).square() / (span.mean() / 30).sqrt()
    distances = distances + ((pitch.unsqueeze(1) - pitch) / PITCH_STD).square()
    return distances.sum().item() / (len(voices) * (len(voices) - 1))


@lru_cache
def _mel_levels(sample_rate):
    return Fbank(sample_rate=sample_rate, n_mels=NUM_MELS)


def _cosines():
    """Matrix of mel levels (T, 40) to cepstra (T, 12); the level itself is left out."""
    places = (torch.arange(NUM_MELS) + 0.5) / NUM_MELS
    orders = torch.arange(1, NUM_CEPSTRA + 1)
    return (2 / NUM_MELS) ** 0.5 * torch.cos(math.pi * places.unsqueeze(1) * orders)


def _pitch(wav, sample_rate):
    """Median pitch of the most periodic frames, (), in octaves above 1 Hz."""
    size, shortest, longest = sample_rate // 25, sample_rate // 400, sample_rate // 60
    wav = torch.nn.functional.pad(wav, (0, max(0, size - len(wav))))
    frames = wav.unfold(0, size, sample_rate // 100)
    frames = frames - frames.mean(1, keepdim=True)
    products = torch.fft.irfft(torch.fft.rfft(frames, 2 * size).abs().square())[:, :longest]
    energy = torch.nn.functional.pad(frames.square().cumsum(1), (1, 0))
    lags = torch.arange(longest)
    first, second = energy[:, size - lags], energy[:, -1:] - energy[:, lags]
    correlation = (products / (first * second).sqrt().clamp(min=1e-9))[:, shortest:]
    best = correlation.amax(1)
    # The shortest lag that is nearly as good, since multiples of the period are, too.
    period = shortest + (correlation >= 0.9 * best.unsqueeze(1)).float().argmax(1)
    loud = energy[:, -1] >= energy[:, -1].median()
    periodic = best >= best.topk(min(20, len(best))).values[-1]
    chosen = loud & periodic if (loud & periodic).any() else loud
    return (sample_rate / period[chosen].float().median()).log2()
