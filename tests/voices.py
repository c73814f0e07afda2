"""Sounds that are speech enough to be enrolled, made of pulses, resonances and a syllable."""

import math

import torch

RATE = 16000


def utter(pitch=120.0, colour=1.0, take=0):
    """One syllable of about 0.5 s in a quiet room, (RATE,).

    `pitch` (Hz) and `colour` (a factor of the resonances) make a speaker, `take` an utterance.
    """
    generator = torch.Generator().manual_seed(take)
    shifts = 1 + 0.05 * torch.randn(3, generator=generator)
    time = torch.arange(RATE) / RATE
    glide = 1 + 0.1 * (time - 0.5)
    pulses = torch.zeros(RATE)
    for harmonic in range(1, int(4000 / pitch)):
        frequency = pitch * harmonic
        centres = colour * torch.tensor([500.0, 1500.0, 2500.0]) * shifts
        gain = (1 / (1 + ((frequency - centres) / 120) ** 2)).sum()
        pulses += gain * torch.cos(2 * math.pi * frequency * glide * time)
    syllable = torch.sin(math.pi * ((time - 0.25) / 0.5).clamp(0, 1)) ** 2
    wav = 0.3 * pulses / pulses.abs().max() * syllable
    return wav + 0.0005 * torch.randn(RATE, generator=generator)
