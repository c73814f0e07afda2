"""Augmentation of each take: what another one does to a voice, done to every utterance alone."""

import torch
from torch import nn


class EachTake(nn.Module):
    """Draws another change for every utterance, where an augmentation has one for a voice or room.

    No two takes of a word are alike, so takes that are copies of one recording must not be either.

    Arguments
    ---------
    augmentation : callable
        As in the list `augmentations` of a YAML, such as `VirtualSpeaker`.

    Example
    -------
    >>> from vofp_plugin.augment.virtual_speaker import VirtualSpeaker
    >>> each_take = EachTake(VirtualSpeaker(tempo=0.1))
    >>> voices = torch.zeros(2).long()
    >>> feats = torch.rand(1, 101, 40).expand(2, -1, -1)
    >>> first, second = each_take(feats, voices, voices)
    >>> torch.equal(first, second)
    False
    """

    def __init__(self, augmentation):
        super().__init__()
        self.augmentation = augmentation
        if hasattr(augmentation, "space"):
            self.space = augmentation.space

    def forward(self, feats, voices, rooms, generator=None):
        """Changes `feats` (B, T, F), whatever their `voices` (B,) and `rooms` (B,)."""
        alone = torch.arange(len(feats))
        return self.augmentation(feats, alone, alone, generator)
