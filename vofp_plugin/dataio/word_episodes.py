"""Word episodes: targets that are words by speakers, each with takes of it.

An episode is made of rounds. A round asks W words of V voices of one corpus, so that every target
meets other words by its speaker, its word by other speakers, and other words by others. Where a
corpus has too few takes or speakers of a word, a take is drawn more than once, and a speaker stands
in for another: augmentations make other takes of the one, and other voices of the other.
"""

from collections import defaultdict

import torch
from torch.utils.data import Sampler

from vofp_plugin.dataio.episodes import Item, share
from vofp_plugin.utils.seeds import picked, seeded, shuffled

CORPUS_MARK = ":"  # what is before it in the name of a speaker is the corpus


class WordEpisodeBatchSampler(Sampler):
    """Draws word episodes: batches of items, reproducible from seed and epoch.

    Half of the words of a round are neighbours in the alphabet, among which a corpus may have words
    that sound alike.

    Arguments
    ---------
    rows : list of dict
        Manifest rows of the dataset, with "spk_id" and "command". A speaker's name begins with that
        of a corpus and a colon.
    shape : EpisodeShape
        Its N is the number of targets: rounds * voices * words.
    num_episodes : int
        Episodes per epoch and process.
    voices : int
        V.
    words : int
        W.
    seed : int
    rank : int
        Of this process, when several train together.
    num_processes : int
        That train together. They share the episodes that one alone would have, in turns.

    Raises
    ------
    ValueError
        If N is no multiple of V * W, or nobody says two words.

    Example
    -------
    >>> from vofp_plugin.dataio.episodes import EpisodeShape
    >>> rows = [{"spk_id": f"x:{s}", "command": w} for s in "ab" for w in ("no", "yes")]
    >>> shape = EpisodeShape(num_speakers=4, max_shots=1, num_queries=1)
    >>> (episode,) = WordEpisodeBatchSampler(rows, shape, num_episodes=1, voices=2, words=2)
    >>> [item.voice for item in episode]
    [0, 0, 0, 0, 1, 1, 1, 1]
    """

    def __init__(
        self, rows, shape, num_episodes, voices=3, words=6, seed=0, rank=0, num_processes=1
    ):
        if shape.num_speakers % (voices * words):
            raise ValueError(
                f"Got {shape.num_speakers} targets for {voices} voices of {words} words; expected "
                "a multiple of their product."
            )
        self.shape, self.num_episodes = shape, num_episodes
        self.voices, self.words = voices, words
        self.seed, self.rank, self.num_processes = seed, rank, num_processes
        self.epoch = 0
        self.takes = defaultdict(lambda: defaultdict(list))  # of speakers, by word
        for index, row in enumerate(rows):
            self.takes[row["spk_id"]][row["command"]].append(index)
        self.corpora = _corpora(self.takes)
        self.speakers = defaultdict(lambda: defaultdict(set))  # of corpora, by word
        for speaker, words_of in self.takes.items():
            for word in words_of:
                self.speakers[_corpus(speaker)][word].add(speaker)

    def set_epoch(self, epoch):
        """Chooses the epoch whose episodes the next iteration gives."""
        self.epoch = epoch

    def __len__(self):
        return self.num_episodes

    def __iter__(self):
        return share(self._episodes(), self.num_episodes, self.rank, self.num_processes)

    def _episodes(self):
        """Episodes without end, those of all processes."""
        generator = seeded("word epoch", self.seed, self.epoch, 0)
        rounds = self.shape.num_speakers // (self.voices * self.words)
        names = list(self.corpora)
        while True:
            items = []
            for number in range(rounds):
                corpus = picked(names, generator)
                items += self._round(corpus, number * self.voices, generator)
            yield [item._replace(room=room) for room, item in enumerate(items)]

    def _round(self, corpus, first_voice, generator):
        """Items of V voices, the targets of a voice one after another."""
        first = picked(self.corpora[corpus], generator)
        words = self._words(first, generator)
        speakers = [first, *self._others(corpus, first, words, generator)]
        return [
            item
            for voice, speaker in enumerate(speakers, first_voice)
            for word in self._words_of(speaker, words, generator)
            for item in self._target(speaker, word, voice, generator)
        ]

    def _words(self, speaker, generator):
        """W words of a speaker, half of them neighbours in the alphabet."""
        words = sorted(self.takes[speaker])
        start = _integer(len(words), generator)
        near = [words[(start + step) % len(words)] for step in range(self.words // 2)]
        others = [word for word in shuffled(words, generator) if word not in near]
        words = list(dict.fromkeys(near + others))[: self.words]
        return [words[i % len(words)] for i in range(self.words)]

    def _others(self, corpus, first, words, generator):
        """V - 1 speakers who say one of the words, at best others; the first one fills up."""
        asked = self.speakers[corpus]
        known = sorted(set().union(*(asked[word] for word in words)) - {first})
        known = shuffled(known, generator)
        # Those with the most of the words come first; the order among equals is drawn.
        known.sort(key=lambda name: -len(self.takes[name].keys() & set(words)))
        chosen = known[: self.voices - 1]
        return chosen + [first] * (self.voices - 1 - len(chosen))

    def _words_of(self, speaker, words, generator):
        """The words that a speaker says of some, filled up by others of theirs."""
        own = self.takes[speaker]
        said = [word for word in words if word in own]
        others = [word for word in shuffled(sorted(own), generator) if word not in said]
        chosen = (said + others)[: self.words]
        return [chosen[i % len(chosen)] for i in range(self.words)]

    def _target(self, speaker, word, voice, generator):
        """K drawn enrollment places, the others empty, and Q queries."""
        takes = shuffled(self.takes[speaker][word], generator)
        shots = 1 + _integer(self.shape.max_shots, generator)
        indices = [takes[i % len(takes)] for i in range(self.shape.per_speaker)]
        filled = [k < shots or k >= self.shape.max_shots for k in range(self.shape.per_speaker)]
        return [Item(index, voice, 0, full) for index, full in zip(indices, filled, strict=True)]


def _corpus(speaker):
    return speaker.partition(CORPUS_MARK)[0]


def _corpora(takes):
    """Speakers of two words or more, {corpus: names}."""
    corpora = defaultdict(list)
    for speaker, words in sorted(takes.items()):
        if len(words) > 1:
            corpora[_corpus(speaker)].append(speaker)
    if not corpora:
        raise ValueError(
            f"Got {len(takes)} speakers, none of whom says two words; expected some. Use more data."
        )
    return corpora


def _integer(count, generator):
    return int(torch.randint(0, count, (1,), generator=generator))
