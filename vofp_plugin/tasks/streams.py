"""Streams of several speakers, made of the utterances of an episode while it is trained."""

from typing import NamedTuple

import torch

NOBODY = -1


class Streams(NamedTuple):
    """Streams of N targets, R of each, target after target.

    Arguments
    ---------
    feats : torch.Tensor
        (N * R, T, F), in dB.
    speakers : torch.Tensor
        Place in the episode of who speaks in each frame, or `NOBODY`, (N * R, T).
    targets : torch.Tensor
        Place in the episode of the target of each stream, (N * R,).

    Example
    -------
    >>> speakers = torch.tensor([[0, NOBODY, 1]])
    >>> Streams(torch.zeros(1, 3, 40), speakers, torch.tensor([1])).labels()
    tensor([[2, 0, 1]])
    """

    feats: torch.Tensor
    speakers: torch.Tensor
    targets: torch.Tensor

    def labels(self):
        """0 where nobody speaks, 1 where the target does, 2 where others do, (N * R, T)."""
        others = 1 + (self.speakers != self.targets.unsqueeze(1)).long()
        return torch.where(self.speakers == NOBODY, 0, others)


class StreamMaker:
    """Joins utterances of an episode to streams, from a generator.

    Arguments
    ---------
    per_speaker : int
        R, streams of each target.
    segments : int
        Utterances of a stream, of which one is lost where it is cut at random.
    target_share : float
        Of the utterances that are the target's; the others are of anybody.
    augmentations : list
        Called with features, voices, rooms and generator; a stream is in one room.

    Example
    -------
    >>> from vofp_plugin.lobes.enrollment import Enrollment
    >>> queries = Enrollment(torch.rand(2, 3, 101, 40), torch.ones(2, 3), torch.ones(2, 3, 101))
    >>> StreamMaker(per_speaker=2, segments=4)(queries.feats, queries.labels).feats.shape
    torch.Size([4, 303, 40])
    """

    def __init__(self, per_speaker=2, segments=4, target_share=0.4, augmentations=()):
        self.per_speaker = per_speaker
        self.segments = segments
        self.target_share = target_share
        self.augmentations = augmentations

    def __call__(self, feats, speech, generator=None):
        """Makes streams of utterances.

        Arguments
        ---------
        feats : torch.Tensor
            (N, Q, T, F), in dB.
        speech : torch.Tensor
            1 in frames with speech, else 0, (N, Q, T).
        generator : torch.Generator

        Returns
        -------
        Streams
        """
        num_speakers, num_queries, length = speech.shape
        chosen, places = self._draw(num_speakers, num_queries, generator)
        speakers = torch.where(speech.bool(), _of_speakers(speech), NOBODY)
        rooms = torch.arange(len(places)).repeat_interleave(self.segments)
        pieces = feats.flatten(0, 1)[places.flatten()]
        for augment in self.augmentations:
            pieces = augment(pieces, rooms, rooms, generator)
        start = int(torch.randint(0, length, (1,), generator=generator))
        cut = slice(start, start + (self.segments - 1) * length)
        return Streams(
            pieces.unflatten(0, places.shape).flatten(1, 2)[:, cut],
            speakers.flatten(0, 1)[places].flatten(1, 2)[:, cut],
            chosen.to(speech.device),
        )

    def _draw(self, num_speakers, num_queries, generator):
        """Targets (N * R,) and places of queries (N * R, S) among N * Q."""
        shape = num_speakers * self.per_speaker, self.segments
        targets = torch.arange(num_speakers).repeat_interleave(self.per_speaker)
        anybody = torch.randint(0, num_speakers, shape, generator=generator)
        own = torch.rand(shape, generator=generator) < self.target_share
        speakers = torch.where(own, targets.unsqueeze(1), anybody)
        queries = torch.randint(0, num_queries, shape, generator=generator)
        return targets, speakers * num_queries + queries


def _of_speakers(x):
    """Place of the speaker, in the shape of `x` (N, ...)."""
    return torch.arange(len(x), device=x.device).view(-1, *[1] * (x.dim() - 1)).expand_as(x)
