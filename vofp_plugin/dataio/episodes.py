"""Episodes: N speakers, each with K enrollment utterances and Q queries.

A batch lists, speaker after speaker, K_max enrollment places and then Q queries. A speaker with
fewer enrollment utterances than places repeats its first query there, which `EpisodeShape.split`
masks again, so every batch of an epoch has one shape whatever was drawn.
"""

from collections import defaultdict
from typing import NamedTuple

import torch
from speechbrain.utils.logger import get_logger
from torch.utils.data import Sampler

from vofp_plugin.dataio.manifests import SILENCE
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.utils.seeds import seeded

logger = get_logger(__name__)


class EpisodeShape(NamedTuple):
    """Sizes of an episode.

    Arguments
    ---------
    num_speakers : int
        N.
    max_shots : int
        Enrollment places per speaker; 0 for a shared model.
    num_queries : int
        Q.
    """

    num_speakers: int
    max_shots: int
    num_queries: int

    @property
    def per_speaker(self):
        """Batch items of one speaker."""
        return self.max_shots + self.num_queries

    def split(self, feats, lens, labels, ids):
        """Splits a batch into enrollment and queries.

        Arguments
        ---------
        feats : torch.Tensor
            (B, T, F), B = N * (max_shots + Q).
        lens : torch.Tensor
            Relative lengths, (B,).
        labels : torch.Tensor
            Class indices, (B,).
        ids : list of str
            Utterance IDs; an enrollment place that holds a query's is empty.

        Returns
        -------
        Enrollment
            Of N speakers, with length 0 at empty places.
        Enrollment
            The queries in the same shape: Q utterances of N speakers.
        """
        num_speakers = len(ids) // self.per_speaker
        shape, shots = (num_speakers, self.per_speaker), self.max_shots
        batch = Enrollment(*(x.unflatten(0, shape) for x in (feats, lens, labels)))
        enrollment = Enrollment(*(x[:, :shots] for x in batch))
        speakers = [ids[i : i + self.per_speaker] for i in range(0, len(ids), self.per_speaker)]
        filled = [[x not in set(items[shots:]) for x in items[:shots]] for items in speakers]
        filled = torch.tensor(filled, device=lens.device).reshape(num_speakers, shots)
        queries = Enrollment(*(x[:, shots:] for x in batch))
        return enrollment._replace(lens=enrollment.lens * filled), queries


class EpisodeBatchSampler(Sampler):
    """Draws episodes: batches of dataset indices, reproducible from seed and epoch.

    A speaker of n utterances is enrolled with at most n // 2 of them and answers for the others;
    with fewer than Q others, some are asked twice. A speaker of one utterance is only ever drawn
    without enrollment. How many speakers that concerns is logged. Where an episode needs more
    speakers than there are, some are drawn more than once, of which `VirtualSpeaker` makes
    different ones. Silence is nobody's: it takes the place of queries of every speaker, in its
    share of the data, and never enrolls.

    Arguments
    ---------
    speakers : list of str
        Speaker of every item of the dataset; "silence" for items that nobody speaks.
    shape : EpisodeShape
    num_episodes : int
        Episodes per epoch and process.
    min_shots : int
        Smallest K; K is drawn per episode between it and `shape.max_shots`.
    none_fraction : float
        Share of speakers drawn without enrollment.
    seed : int
    rank : int
        Of this process, when several train together; each draws its own episodes.

    Raises
    ------
    ValueError
        If there are fewer than two speakers, or `none_fraction` is no share.

    Example
    -------
    >>> sampler = EpisodeBatchSampler(["a"] * 4 + ["b"] * 6, EpisodeShape(2, 2, 3), num_episodes=1)
    >>> [len(batch) for batch in sampler]
    [10]
    """

    def __init__(
        self, speakers, shape, num_episodes, min_shots=1, none_fraction=0.1, seed=0, rank=0
    ):
        self.items = defaultdict(list)
        for index, speaker in enumerate(speakers):
            self.items[speaker].append(index)
        self.silence = self.items.pop(SILENCE, [])
        self.silence_fraction = len(self.silence) / max(1, len(speakers))
        self.shape = shape
        self.num_episodes = num_episodes
        self.min_shots = min(min_shots, shape.max_shots)
        self.none_fraction = none_fraction
        self.seed = seed
        self.rank = rank
        self.epoch = 0
        if not 0 <= none_fraction <= 1:
            raise ValueError(f"Got none_fraction {none_fraction}; expected a share, from 0 to 1.")
        if len(self.items) < 2:
            raise ValueError(
                f"Got {len(self.items)} speakers to train on; expected at least 2. Use more data."
            )
        self._log_small_speakers()

    def set_epoch(self, epoch):
        """Chooses the epoch whose episodes the next iteration gives."""
        self.epoch = epoch

    def __len__(self):
        return self.num_episodes

    def __iter__(self):
        generator = seeded("epoch", self.seed, self.epoch, self.rank)
        for _ in range(self.num_episodes):
            names = self._names(generator)
            shots = _draw_integer(self.min_shots, self.shape.max_shots, generator)
            yield [i for name in names for i in self._speaker(name, shots, generator)]

    def _names(self, generator):
        """Speakers of an episode, each as often as any other, give or take once."""
        names, chosen = list(self.items), []
        while len(chosen) < self.shape.num_speakers:
            chosen += torch.randperm(len(names), generator=generator).tolist()
        return [names[c] for c in chosen[: self.shape.num_speakers]]

    def _speaker(self, name, shots, generator):
        """Items of one speaker: max_shots enrollment places, then Q queries."""
        items = self.items[name]
        items = [items[i] for i in torch.randperm(len(items), generator=generator).tolist()]
        if torch.rand(1, generator=generator) < self.none_fraction:
            shots = 0
        shots = min(shots, len(items) // 2)
        enrolled, asked = items[:shots], items[shots:]
        queries = [asked[i % len(asked)] for i in range(self.shape.num_queries)]
        queries = [self._or_silence(query, generator) for query in queries]
        return enrolled + queries[:1] * (self.shape.max_shots - shots) + queries

    def _or_silence(self, query, generator):
        if torch.rand(1, generator=generator) >= self.silence_fraction:
            return query
        return self.silence[_draw_integer(0, len(self.silence) - 1, generator)]

    def _log_small_speakers(self):
        sizes = [len(items) for items in self.items.values()]
        full = self.shape.per_speaker
        logger.info(
            "Episodes of %d speakers: %d have the %d utterances of a full episode, %d fewer (their "
            "K is smaller or queries repeat), %d just one (never enrolled).",
            len(sizes),
            sum(size >= full for size in sizes),
            full,
            sum(size < full for size in sizes),
            sizes.count(1),
        )


def _draw_integer(low, high, generator):
    return int(torch.randint(low, high + 1, (1,), generator=generator))
