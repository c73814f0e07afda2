"""Trials: who is enrolled with what and asked what, the same for every system.

A draw shuffles one speaker's utterances: the first ones enroll (nested in K), the others are the
queries. Each draw has its own stranger, whose enrollment stands in for the speaker's.
"""

from collections import defaultdict
from typing import NamedTuple

from speechbrain.utils.logger import get_logger

from vofp_plugin.dataio.manifests import SILENCE
from vofp_plugin.utils.seeds import seeded, shuffled

logger = get_logger(__name__)


class Draw(NamedTuple):
    """One enrollment draw of one speaker; utterances are places in the manifest.

    Arguments
    ---------
    speaker : str
    enrollment : list of int
        The first K are the enrollment of K shots.
    stranger : list of int
        Another speaker's, as many, of the same words where that speaker said them.
    queries : list of int
        In no enrollment of the draw.
    """

    speaker: str
    enrollment: list
    stranger: list
    queries: list


def make_draws(rows, max_shots, num_draws=20, min_queries=3, max_queries=40, seed=0):
    """Draws the trials of a manifest.

    Arguments
    ---------
    rows : list of dict
        Manifest rows.
    max_shots : int
        Largest K.
    num_draws : int
        Draws per speaker, each with another stranger as long as there are enough.
    min_queries : int
        Speakers with fewer than max_shots + min_queries utterances are left out, and counted.
    max_queries : int
        Queries per draw, at most.
    seed : int

    Returns
    -------
    list of Draw
        Of each speaker in turn.

    Raises
    ------
    ValueError
        If fewer than two speakers have enough utterances.

    Example
    -------
    >>> rows = [{"spk_id": s, "command": str(i)} for s in "ab" for i in range(4)]
    >>> draws = make_draws(rows, max_shots=1, num_draws=2)
    >>> [(d.speaker, len(d.enrollment), len(d.queries)) for d in draws][:2]
    [('a', 1, 3), ('a', 1, 3)]
    """
    utterances = defaultdict(list)
    for place, row in enumerate(rows):
        if row["spk_id"] != SILENCE:
            utterances[row["spk_id"]].append(place)
    enough = {s: u for s, u in utterances.items() if len(u) >= max_shots + min_queries}
    logger.info(
        "Trials: %d speakers with at least %d + %d utterances; %d with fewer are left out.",
        len(enough),
        max_shots,
        min_queries,
        len(utterances) - len(enough),
    )
    if len(enough) < 2:
        longest = max(map(len, utterances.values()), default=0)
        raise ValueError(
            f"Got {len(enough)} speakers with at least {max_shots} + {min_queries} utterances (the "
            f"most that a speaker has is {longest}); expected at least 2. Lower the largest K in "
            "`test_shots`, or use a larger manifest or another --fold."
        )
    return [
        draw
        for speaker in enough
        for draw in _speaker_draws(speaker, enough, rows, max_shots, num_draws, max_queries, seed)
    ]


def _speaker_draws(speaker, utterances, rows, max_shots, num_draws, max_queries, seed):
    generator = seeded(seed, speaker)
    strangers = shuffled([s for s in utterances if s != speaker], generator)
    for draw in range(num_draws):
        places = shuffled(utterances[speaker], generator)
        enrollment = places[:max_shots]
        candidates = shuffled(utterances[strangers[draw % len(strangers)]], generator)
        yield Draw(
            speaker,
            enrollment,
            _same_words(enrollment, candidates, rows),
            places[max_shots : max_shots + max_queries],
        )


def _same_words(enrollment, candidates, rows):
    """Takes one of the candidates for each utterance, of the same word where there is one."""
    left, taken = list(candidates), {}
    for place in enrollment:
        same = [c for c in left if rows[c]["command"] == rows[place]["command"]]
        if same:
            taken[place] = same[0]
            left.remove(same[0])
    # Other words only now, so that none takes an utterance that a later one needs.
    return [taken[place] if place in taken else left.pop(0) for place in enrollment]
