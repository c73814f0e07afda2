"""Interleaved timing: candidates take turns, and what is told is their ratio within a turn.

A busy machine slows all of a round alike, so the ratio to the reference of the same round says more
than any time. The order is drawn anew in every round, and every candidate runs once before its run
that is timed: what ran before it, such as a copy of a model, else leaves it cold caches.
"""

import random
import statistics
import time
from typing import NamedTuple

import torch


class Ratio(NamedTuple):
    """Time of a candidate relative to the reference: quartiles over rounds, and its median in ms.

    Example
    -------
    >>> Ratio(1.2, 1.1, 1.3, 5.0, 40).median
    1.2
    """

    median: float
    low: float
    high: float
    ms: float
    rounds: int


def interleaved(candidates, seconds=3.0, min_rounds=4, seed=0):
    """Times functions of no argument against the first of them.

    Arguments
    ---------
    candidates : dict
        {name: function}; the first is the reference. An equal of it, under another name, shows
        what differs by chance (A/A).
    seconds : float
        For all rounds together, unless they are fewer than `min_rounds`.
    min_rounds : int
    seed : int
        Of the order.

    Returns
    -------
    dict
        {name: Ratio}, by CPU time of the process with one thread of torch, else by the clock.
    """
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    order, generator = list(candidates), random.Random(seed)
    times = {name: [] for name in order}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[order[0]]) < min_rounds:
        generator.shuffle(order)
        for name in order:
            candidates[name]()
            start = clock()
            candidates[name]()
            times[name].append(clock() - start)
    reference = times[next(iter(candidates))]
    return {name: _ratio(own, reference) for name, own in times.items()}


def _ratio(own, reference):
    ratios = [a / b for a, b in zip(own, reference, strict=True)]
    low, median, high = statistics.quantiles(ratios, n=4)
    return Ratio(median, low, high, 1000 * statistics.median(own), len(own))
