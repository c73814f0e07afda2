"""Estimates over speakers: means and ratios with intervals, exact p-values, shares harmed."""

from functools import lru_cache

import numpy as np
import pandas as pd
from scipy.stats import norm

MIN_SPEAKERS = 20  # below this number a bootstrap interval is too narrow to be honest


def bootstrap(values, over=None, num_resamples=5000, level=0.95, seed=0):
    """Means over speakers, with the percentile intervals of resampled speakers.

    Arguments
    ---------
    values : pandas.DataFrame or array
        One value per speaker in each column, shape (N, columns) or (N,).
    over : pandas.DataFrame or array or None
        Values of the same speakers: the means are divided by theirs, which must be positive.
    num_resamples : int
        Number of times the N speakers are drawn with replacement, alike in all columns.
    level : float
        Coverage of the interval, in (0, 1).
    seed : int

    Returns
    -------
    pandas.DataFrame
        ``value``, ``ci_low`` and ``ci_high`` of each column. No interval (NaN) below
        ``MIN_SPEAKERS`` speakers, nor of a ratio where a resample has nothing to divide by.

    Raises
    ------
    ValueError
        If there is no value, one is not finite, or a mean to divide by is not positive.

    Example
    -------
    >>> mean, low, high = bootstrap(range(101)).loc[0]
    >>> low < mean == 50.0 < high
    True
    >>> bootstrap([0.25, 0.25], over=[0.75, 0.25]).value.tolist()
    [0.5]
    """
    values = per_speaker(values)
    below = np.ones((len(values), 1)) if over is None else per_speaker(over).to_numpy()
    if len(below) != len(values) or (below.mean(axis=0) <= 0).any():
        raise ValueError(
            f"got {len(values)} speakers to divide by {len(below)} with means of at least "
            f"{below.mean(axis=0).min():.3g}, expected the same speakers and positive means"
        )
    result = pd.DataFrame({"value": values.sum() / below.sum(axis=0)})
    result[["ci_low", "ci_high"]] = np.nan
    if len(values) >= MIN_SPEAKERS:
        weights = _resamples(len(values), num_resamples, seed)
        below = weights @ below
        ratios = weights @ values.to_numpy() / np.where((below > 0).all(axis=0), below, np.nan)
        tails = [(1 - level) / 2, (1 + level) / 2]
        result["ci_low"], result["ci_high"] = np.quantile(ratios, tails, axis=0)
    return result


def sign_flip_test(differences):
    """Exact two-sided p-values of mean differences when each sign is equally likely.

    Arguments
    ---------
    differences : pandas.DataFrame or array
        One paired difference per speaker in each column, shape (N, columns) or (N,), N at most
        ``MIN_SPEAKERS``.

    Returns
    -------
    list of float
        Share of the 2 ** N sign patterns whose mean is at least as far from 0, of each column.

    Raises
    ------
    ValueError
        If there is no value, too many, or one is not finite.

    Example
    -------
    >>> sign_flip_test([0.1, 0.2, 0.3])
    [0.25]
    """
    differences = per_speaker(differences)
    if len(differences) > MIN_SPEAKERS:
        raise ValueError(
            f"got {len(differences)} differences, expected at most {MIN_SPEAKERS}: the exact test "
            "visits every sign pattern; use bootstrap for more speakers"
        )
    return [_p_value(column) for column in differences.to_numpy().T]


def harm(losses, margin=0.01):
    """Shares of the speakers who lose more than a margin, with 95 % Wilson intervals.

    Arguments
    ---------
    losses : pandas.DataFrame or array
        How much worse off each speaker is, shape (N, columns) or (N,).
    margin : float
        In the unit of the scores; 0.01 is one point of accuracy.

    Returns
    -------
    pandas.DataFrame
        As of ``bootstrap``. The interval has a width even where nobody is harmed.

    Example
    -------
    >>> harm([-0.05, 0.0, 0.005, 0.1]).value.tolist()
    [0.25]
    """
    losses = per_speaker(losses)
    rounding = 1e-9  # 0.90 - 0.89 must not count as more than 0.01
    share, number = (losses > margin + rounding).mean(), len(losses)
    z = norm.ppf(0.975) if number >= MIN_SPEAKERS else np.nan
    centre = (share + z**2 / (2 * number)) / (1 + z**2 / number)
    half = z * np.sqrt(share * (1 - share) / number + (z / (2 * number)) ** 2)
    half /= 1 + z**2 / number
    return pd.DataFrame({"value": share, "ci_low": centre - half, "ci_high": centre + half})


def per_speaker(values):
    """Frame of one finite value per speaker in each column; refuse anything else."""
    values = pd.DataFrame(values)
    if values.empty or not np.isfinite(values.to_numpy(dtype=float)).all():
        raise ValueError(
            f"got values of shape {values.shape}, expected one finite value per speaker in each "
            "column, shape (N, columns) with N >= 1"
        )
    return values.astype(float)


def _p_value(differences):
    # Doubling needs no copy of the values for every pattern, as scipy's permutation_test does. A
    # pattern and its negation are equally far from 0, so the first sign can stay.
    sums = differences[:1]
    for difference in differences[1:]:
        sums = np.concatenate([sums + difference, sums - difference])
    rounding = 1e-12 * abs(differences).sum()
    return float((abs(sums) >= abs(differences.sum()) - rounding).mean())


@lru_cache(maxsize=2)  # a comparison resamples all speakers and the hardest ones, many times
def _resamples(num_speakers, num_resamples, seed):
    """How often each resample holds each speaker, shape (num_resamples, num_speakers)."""
    shares = np.full(num_speakers, 1 / num_speakers)
    drawn = np.random.default_rng(seed).multinomial(num_speakers, shares, num_resamples)
    return drawn.astype(float)
