"""Augmentation that puts log-mel features into rooms: a decaying tail follows every frame."""

import math

import torch
from torch import nn

from vofp_plugin.augment.feature_noise import NEPERS
from vofp_plugin.dataio.front_end import LOG_MEL_DB


class FeatureRoom(nn.Module):
    """Adds to the power of every frame what a room keeps of earlier ones.

    Arguments
    ---------
    rt60 : list of float
        Shortest and longest time in which a room loses 60 dB, in s.
    direct : list of float
        Lowest and highest ratio of direct sound to the tail, in dB.
    probability : float
        Share of rooms with a tail.
    hop : float
        From frame to frame, in s.

    Example
    -------
    >>> room = FeatureRoom(probability=1.0)
    >>> clip = torch.full((1, 30, 40), -60.0)
    >>> clip[:, 10] = 0.0
    >>> reverberant = room(clip, torch.zeros(1).long(), torch.zeros(1).long())
    >>> bool((reverberant[:, 11] > -40).all()), bool((reverberant[:, 9] < -50).all())
    (True, True)
    """

    space = LOG_MEL_DB

    def __init__(self, rt60=(0.2, 1.0), direct=(0.0, 15.0), probability=0.5, hop=0.01):
        super().__init__()
        self.rt60 = rt60
        self.direct = direct
        self.probability = probability
        self.hop = hop

    def forward(self, feats, voices, rooms, generator=None):
        """Changes `feats` (B, T, F), in dB, by their `rooms` (B,), whatever their `voices`."""
        rooms = rooms.cpu()
        draws = torch.rand(3, int(rooms.max()) + 1, 1, generator=generator)[:, rooms]
        chosen, rt60, direct = draws.to(feats.device)
        rt60 = self.rt60[0] + (self.rt60[1] - self.rt60[0]) * rt60
        direct = self.direct[0] + (self.direct[1] - self.direct[0]) * direct
        decay = torch.exp(-6 * math.log(10) * self.hop / rt60)  # of power, in one hop
        gain = torch.exp(-direct * NEPERS) * (1 - decay) / decay * (chosen < self.probability)
        power = torch.exp(feats * NEPERS)
        tail, tails = torch.zeros_like(power[:, 0]), []
        for frame in power.unbind(dim=1):
            tails.append(tail)
            tail = decay * (tail + frame)
        return (power + gain.unsqueeze(2) * torch.stack(tails, dim=1)).log() / NEPERS
