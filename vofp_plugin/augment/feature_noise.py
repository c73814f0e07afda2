"""Augmentation that adds noise to log-mel features, so that cached features stay useful."""

import math

import torch
from torch import nn

from vofp_plugin.dataio.front_end import LOG_MEL_DB
from vofp_plugin.dataio.noise import load_noises, random_chunks
from vofp_plugin.utils.seeds import seeded

NEPERS = math.log(10) / 10  # of a power, in one dB


class FeatureNoise(nn.Module):
    """Adds the power of noise to that of speech, of one kind for all utterances of a room.

    Powers add up to cross terms, which are zero on average. The noises are read, and their
    features computed, when the first batch comes.

    Arguments
    ---------
    front_end : FrontEnd
        The one that computed the features of the speech.
    noise_folder : str
        Folder of wav or flac files; None makes coloured noise.
    snr : list of float
        Lowest and highest signal-to-noise ratio of an utterance, in dB.
    probability : float
        Share of rooms with noise.
    chunks : int
        Pieces of one clip's length cut of each noise.

    Raises
    ------
    ValueError
        If the share is not between 0 and 1, the lowest ratio above the highest, or the front end
        computes features of another space.

    Example
    -------
    >>> from speechbrain.lobes.features import Fbank
    >>> from vofp_plugin.dataio.front_end import FrontEnd
    >>> noise = FeatureNoise(FrontEnd(Fbank(n_mels=40)), None, snr=[0.0, 20.0], probability=1.0)
    >>> rooms = torch.tensor([0, 0, 0, 1, 1, 1])
    >>> noise(torch.zeros(6, 101, 40), voices=rooms, rooms=rooms).shape
    torch.Size([6, 101, 40])
    """

    space = LOG_MEL_DB

    def __init__(self, front_end, noise_folder=None, snr=(0.0, 20.0), probability=0.5, chunks=100):
        super().__init__()
        front_end.check_space(self)
        if not 0 <= probability <= 1:
            raise ValueError(f"Got probability {probability}; expected a share, from 0 to 1.")
        if not snr[0] <= snr[1]:
            raise ValueError(f"Got snr {list(snr)}; expected the lowest and the highest, in dB.")
        self.front_end = front_end
        self.noise_folder = noise_folder
        self.snr = snr
        self.probability = probability
        self.chunks = chunks
        self.noises = None

    def forward(self, feats, voices, rooms, generator=None):
        """Changes `feats` (B, T, F), in dB, by their `rooms` (B,), whatever their `voices`."""
        if self.noises is None:
            self.noises = self._noise_powers()
        rooms = rooms.cpu()
        num_rooms = int(rooms.max()) + 1
        kinds = torch.randint(0, len(self.noises), (num_rooms,), generator=generator)[rooms]
        noisy = (torch.rand(num_rooms, generator=generator) < self.probability)[rooms]
        chunk = torch.randint(0, self.chunks, (len(feats),), generator=generator)
        low, high = self.snr
        snr = low + (high - low) * torch.rand(len(feats), 1, 1, generator=generator)
        noise = self.noises[kinds[noisy], chunk[noisy]].to(feats.device)
        speech = _power(feats[noisy.to(feats.device)])
        gain = _mean(speech) / _mean(noise) * _power(-snr[noisy]).to(feats.device)
        noisy_feats = feats.clone()
        noisy_feats[noisy.to(feats.device)] = (speech + gain * noise).log() / NEPERS
        return noisy_feats

    def _noise_powers(self):
        """Powers of chunks of every kind of noise, (kinds, chunks, T, F)."""
        generator, length = seeded("noise chunks"), self.front_end.num_samples
        return torch.stack(
            [
                _power(self.front_end(random_chunks(noise, length, self.chunks, generator)))
                for noise in load_noises(self.noise_folder, "train", self.front_end.sample_rate)
            ]
        )


def _power(decibels):
    return torch.exp(decibels * NEPERS)


def _mean(power):
    """Mean power of every item, (B, 1, 1)."""
    return power.mean(dim=(1, 2), keepdim=True).clamp(min=1e-12)
