"""Episodes: N speakers, each with K enrollment utterances and Q queries.

A batch lists, speaker after speaker, K_max enrollment places and then Q queries. An empty place
repeats the speaker's first query, and says that it is empty, so every batch of an epoch has one
shape whatever was drawn.
"""

from collections import defaultdict
from itertools import islice
from typing import NamedTuple

import torch
from speechbrain.utils.logger import get_logger
from torch.utils.data import Dataset, Sampler

from vofp_plugin.dataio.manifests import SILENCE
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.utils.seeds import seeded, shuffled

logger = get_logger(__name__)
MANY = 10_000  # values, of which it takes less to draw a few than to shuffle all


class Item(NamedTuple):
    """A place of an episode: which utterance it holds, in whose voice and in which room.

    Arguments
    ---------
    index : int
        Of the utterance in the dataset.
    voice : int
        Of the speaker within the episode: what an augmentation changes in one voice, it changes
        alike in all of its utterances, whoever's target they are offered as.
    room : int
        Of the utterance within the episode; the utterances of one room share its kind of noise.
    filled : bool
        False of an enrollment place without an utterance.
    """

    index: int
    voice: int
    room: int
    filled: bool = True


class Episode(NamedTuple):
    """N speakers, what they enroll and what is asked.

    Arguments
    ---------
    enrollment : Enrollment
        With length 0 at empty places.
    queries : Enrollment
        Q utterances of each speaker.
    spoken : torch.Tensor
        (N, Q), bool; False of a query that nobody speaks.
    voices : torch.Tensor
        Voice of each of N, (N,); None where every one has another.

    Example
    -------
    >>> shape, lens = EpisodeShape(num_speakers=2, max_shots=1, num_queries=3), torch.ones(8)
    >>> filled = torch.tensor([True] * 4 + [False] + [True] * 3)
    >>> voices = torch.tensor([0] * 4 + [1] * 4)
    >>> parts = torch.rand(8, 101, 40), lens, lens.long(), filled, lens.bool(), voices
    >>> episode = shape.split(*parts)
    >>> episode.queries.feats.shape, episode.enrollment.present
    (torch.Size([2, 3, 101, 40]), tensor([ True, False]))
    """

    enrollment: Enrollment
    queries: Enrollment
    spoken: torch.Tensor
    voices: torch.Tensor | None = None


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

    def split(self, feats, lens, labels, filled, spoken, voices):
        """Splits a batch of B = N * (max_shots + Q) items.

        Arguments
        ---------
        feats : torch.Tensor
            (B, T, F).
        lens : torch.Tensor
            Relative lengths, (B,).
        labels : torch.Tensor
            (B,), or (B, T) of frames.
        filled : torch.Tensor
            (B,), bool; False at empty enrollment places.
        spoken : torch.Tensor
            (B,), bool; False of silence.
        voices : torch.Tensor
            (B,).

        Returns
        -------
        Episode
        """
        parts = (feats, lens, labels, filled, spoken, voices)
        feats, lens, labels, filled, spoken, voices = (
            x.unflatten(0, (-1, self.per_speaker)) for x in parts
        )
        shots = self.max_shots
        return Episode(
            Enrollment(feats[:, :shots], (lens * filled)[:, :shots], labels[:, :shots]),
            Enrollment(feats[:, shots:], lens[:, shots:], labels[:, shots:]),
            spoken[:, shots:],
            voices[:, 0],
        )


class EpisodeDataset(Dataset):
    """The items of a dataset by their places in episodes.

    Arguments
    ---------
    dataset : DynamicItemDataset

    Example
    -------
    >>> EpisodeDataset([{"id": "up_1"}])[Item(index=0, voice=3, room=1)]
    {'id': 'up_1', 'voice': 3, 'room': 1, 'filled': True}
    """

    def __init__(self, dataset):
        self.dataset = dataset

    def __len__(self):
        return len(self.dataset)

    def __getitem__(self, item):
        place = {"voice": item.voice, "room": item.room, "filled": item.filled}
        return {**self.dataset[item.index], **place}


class EpisodeBatchSampler(Sampler):
    """Draws episodes: batches of items, reproducible from seed and epoch.

    A speaker of n utterances is enrolled with at most n // 2 of them and answers for the others;
    with fewer than Q others, some are asked twice. A speaker of one utterance is only ever drawn
    without enrollment. How many speakers that concerns is logged. Where an episode needs more
    speakers than there are, some are drawn more than once, of which `VirtualSpeaker` makes
    different ones. Silence is nobody's: it takes the place of queries of every speaker, in its
    share of the data, and never enrolls.

    Arguments
    ---------
    rows : list of dict
        Manifest rows of the dataset, with "spk_id", which is "silence" where nobody speaks.
    shape : EpisodeShape
    num_episodes : int
        Episodes per epoch and process.
    min_shots : int
        Smallest K; K is drawn per episode between it and `shape.max_shots`.
    none_fraction : float
        Share of speakers drawn without enrollment.
    elsewhere : float
        Share of speakers who enroll in another room than they are asked in.
    own_rooms : bool
        Whether every utterance is in a room of its own, wherever the others of its speaker are.
    twins : int
        Speakers of an episode who are drawn once more, as another voice: of those
        `VirtualSpeaker` makes people who differ from them by nothing but the vocal tract.
    seed : int
    rank : int
        Of this process, when several train together.
    num_processes : int
        That train together. They share the episodes that one alone would have, in turns.

    Raises
    ------
    ValueError
        If there are fewer than two speakers, or a share is none.

    Example
    -------
    >>> rows = [{"spk_id": "a"}] * 4 + [{"spk_id": "b"}] * 6
    >>> sampler = EpisodeBatchSampler(rows, EpisodeShape(2, 2, 3), num_episodes=1)
    >>> [len(batch) for batch in sampler]
    [10]
    """

    def __init__(
        self,
        rows,
        shape,
        num_episodes,
        min_shots=1,
        none_fraction=0.1,
        elsewhere=0.0,
        own_rooms=False,
        twins=0,
        seed=0,
        rank=0,
        num_processes=1,
    ):
        self.items = defaultdict(list)
        for index, row in enumerate(rows):
            self.items[row["spk_id"]].append(index)
        self.silence = self.items.pop(SILENCE, [])
        self.names = list(self.items)
        self.silence_fraction = len(self.silence) / max(1, len(rows))
        self.shape = shape
        self.num_episodes = num_episodes
        self.min_shots = min(min_shots, shape.max_shots)
        self.none_fraction = none_fraction
        self.elsewhere = elsewhere
        self.own_rooms = own_rooms
        self.twins = twins
        self.seed = seed
        self.rank, self.num_processes = rank, num_processes
        self.epoch = 0
        for name, share in {"none_fraction": none_fraction, "elsewhere": elsewhere}.items():
            if not 0 <= share <= 1:
                raise ValueError(f"Got {name} {share}; expected a share, from 0 to 1.")
        if not 0 <= twins <= shape.num_speakers // 2:
            raise ValueError(
                f"Got {twins} twins in episodes of {shape.num_speakers} speakers; expected at most "
                "half as many."
            )
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
        return share(self._episodes(), self.num_episodes, self.rank, self.num_processes)

    def _episodes(self):
        """Episodes without end, those of all processes."""
        generator = seeded("epoch", self.seed, self.epoch, 0)
        rooms = seeded("rooms", self.seed, self.epoch, 0)
        while True:
            names = self._names(generator)
            shots = _draw_integer(self.min_shots, self.shape.max_shots, generator)
            items = [
                item
                for voice, name in enumerate(names)
                for item in self._speaker(name, voice, shots, generator, rooms)
            ]
            if self.own_rooms:
                items = [item._replace(room=room) for room, item in enumerate(items)]
            yield items

    def _names(self, generator):
        """Speakers of an episode, each as often as any other, give or take once."""
        chosen, wanted = [], self.shape.num_speakers - self.twins
        while len(chosen) < wanted:
            chosen += _drawn(self.names, wanted, generator)
        return chosen[:wanted] + chosen[: self.twins]

    def _speaker(self, name, voice, shots, generator, rooms):
        """Items of one speaker: max_shots enrollment places, then Q queries."""
        indices = _drawn(self.items[name], self.shape.per_speaker, generator)
        if torch.rand(1, generator=generator) < self.none_fraction:
            shots = 0
        shots = min(shots, len(self.items[name]) // 2)
        enrolled, asked = indices[:shots], indices[shots:]
        queries = [asked[i % len(asked)] for i in range(self.shape.num_queries)]
        queries = [self._or_silence(query, generator) for query in queries]
        moved = torch.rand(1, generator=rooms).item() < self.elsewhere
        room = voice + self.shape.num_speakers * moved
        places = enrolled + queries[:1] * (self.shape.max_shots - shots)
        return [
            *(Item(index, voice, room, k < shots) for k, index in enumerate(places)),
            *(Item(index, voice, voice) for index in queries),
        ]

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


def share(episodes, number, rank, num_processes):
    """Iterates over a number of endless episodes: every one whose turn is this process's.

    Example
    -------
    >>> list(share(range(100), 3, rank=1, num_processes=2))
    [1, 3, 5]
    """
    return islice(episodes, rank, number * num_processes, num_processes)


def _drawn(values, number, generator):
    """Draws `number` of some values, each once at most; many values are not shuffled."""
    if len(values) < max(MANY, 2 * number):
        return shuffled(values, generator)[:number]
    places = {}  # in the order drawn, each once
    while len(places) < number:
        places |= dict.fromkeys(torch.randint(len(values), (number,), generator=generator).tolist())
    return [values[i] for i in list(places)[:number]]


def _draw_integer(low, high, generator):
    return int(torch.randint(low, high + 1, (1,), generator=generator))
