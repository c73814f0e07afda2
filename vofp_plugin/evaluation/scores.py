"""Statistics over speakers: each speaker counts once, however many queries were asked."""

from functools import lru_cache

import torch
from scipy.stats import binomtest

MIN_SPEAKERS = 20  # below this number a bootstrap interval is too narrow to be honest
MAX_SIGN_FLIPS = 20  # values of an exact sign-flip test, which visits 2 ** values sums


def bootstrap_mean(values, num_resamples=5000, level=0.95, seed=0):
    """Mean of one value per speaker, with the percentile interval of resampled speakers.

    Arguments
    ---------
    values : torch.Tensor or list
        One value per speaker, shape (N,).
    num_resamples : int
        Number of times the N speakers are drawn with replacement.
    level : float
        Coverage of the interval, in (0, 1).
    seed : int
        Seed of the draws; equal seeds and N resample the same speakers.

    Returns
    -------
    mean : float
    low, high : float or None
        The interval; None below ``MIN_SPEAKERS`` speakers (use ``sign_flip_test`` there).

    Raises
    ------
    ValueError
        If there is no value or one is not finite.

    Example
    -------
    >>> bootstrap_mean([0.5, 1.0])
    (0.75, None, None)
    >>> mean, low, high = bootstrap_mean(torch.arange(101))
    >>> low < mean == 50.0 < high
    True
    """
    values = _speaker_values(values)
    mean = values.mean().item()
    if len(values) < MIN_SPEAKERS:
        return mean, None, None
    resampled = _resamples(len(values), num_resamples, seed) @ values / len(values)
    return mean, *_percentiles(resampled, level)


def bootstrap_ratio(numerator, denominator, num_resamples=5000, level=0.95, seed=0):
    """Ratio of two means over the same speakers, with the interval of resampled pairs.

    Arguments
    ---------
    numerator : torch.Tensor or list
        One value per speaker, shape (N,).
    denominator : torch.Tensor or list
        Values of the same speakers in the same order, of a positive mean, shape (N,).
    num_resamples : int
        Number of times the N speakers are drawn with replacement.
    level : float
        Coverage of the interval, in (0, 1).
    seed : int
        Seed of the draws.

    Returns
    -------
    ratio : float
    low, high : float or None
        The interval; None below ``MIN_SPEAKERS`` speakers, and where some resample has no
        positive denominator (the ratio is then unbounded).

    Raises
    ------
    ValueError
        If the mean of the denominator is not positive, or the values do not pair.

    Example
    -------
    >>> bootstrap_ratio([0.25, 0.25], [0.75, 0.25])
    (0.5, None, None)
    """
    pair = torch.stack(_pairs(numerator, denominator))
    total = pair.sum(dim=1)
    if total[1] <= 0:
        raise ValueError(
            f"got a denominator of mean {total[1].item() / pair.shape[1]:.3g}, expected a positive "
            "one; a ratio to nothing says nothing"
        )
    ratio = (total[0] / total[1]).item()
    if pair.shape[1] < MIN_SPEAKERS:
        return ratio, None, None
    above, below = pair @ _resamples(pair.shape[1], num_resamples, seed).T
    if (below <= 0).any():
        return ratio, None, None
    return ratio, *_percentiles(above / below, level)


def sign_flip_test(differences):
    """Exact two-sided p-value of a mean difference when each sign is equally likely.

    Arguments
    ---------
    differences : torch.Tensor or list
        One paired difference per speaker, shape (N,), N at most ``MAX_SIGN_FLIPS``.

    Returns
    -------
    float
        Share of the 2 ** N sign patterns whose mean is at least as far from 0.

    Raises
    ------
    ValueError
        If there is no value, too many, or one is not finite.

    Example
    -------
    >>> sign_flip_test([0.1, 0.2, 0.3])
    0.25
    """
    differences = _speaker_values(differences)
    if len(differences) > MAX_SIGN_FLIPS:
        raise ValueError(
            f"got {len(differences)} differences, expected at most {MAX_SIGN_FLIPS}: the exact "
            "test visits every sign pattern; use bootstrap_mean for more speakers"
        )
    # A pattern and its negation are equally far from 0, so the first sign can stay.
    sums = differences[:1]
    for difference in differences[1:]:
        sums = torch.cat([sums + difference, sums - difference])
    rounding = 1e-12 * differences.abs().sum()
    extreme = sums.abs() >= differences.sum().abs() - rounding
    return extreme.double().mean().item()


def error_reduction(baseline, system, num_resamples=5000, level=0.95, seed=0):
    """Relative reduction of the macro error rate, with the interval of resampled pairs.

    Arguments
    ---------
    baseline : torch.Tensor or list
        Accuracy of each speaker under the baseline, in [0, 1], shape (N,).
    system : torch.Tensor or list
        Accuracy of the same speakers in the same order, shape (N,).
    num_resamples : int
        Number of times the N speakers are drawn with replacement.
    level : float
        Coverage of the interval, in (0, 1).
    seed : int
        Seed of the draws.

    Returns
    -------
    reduction : float
        1 - error of the system / error of the baseline; 1 means no errors are left.
    low, high : float or None
        The interval; None below ``MIN_SPEAKERS`` speakers, and where errors of the baseline are
        so rare that a resample has none (the reduction is then unbounded).

    Raises
    ------
    ValueError
        If the baseline makes no error, or the values do not pair.

    Example
    -------
    >>> error_reduction([0.5, 0.5], [0.75, 0.75])
    (0.5, None, None)
    """
    baseline, system = _pairs(baseline, system)
    if (baseline >= 1).all():
        raise ValueError("got a baseline without errors, expected some error to reduce")
    return bootstrap_ratio(system - baseline, 1 - baseline, num_resamples, level, seed)


def harm(baseline, system, margin=0.01):
    """Share of speakers for whom the system is worse than the baseline by more than a margin.

    Arguments
    ---------
    baseline : torch.Tensor or list
        Score of each speaker under the baseline, higher is better, shape (N,).
    system : torch.Tensor or list
        Score of the same speakers in the same order, shape (N,).
    margin : float
        In the unit of the scores; 0.01 is one point of accuracy.

    Returns
    -------
    share : float
        In [0, 1].
    low, high : float or None
        The 95 % Wilson interval, which has a width even where nobody is harmed; None below
        ``MIN_SPEAKERS`` speakers.

    Raises
    ------
    ValueError
        If the values do not pair.

    Example
    -------
    >>> harm([0.9, 0.9, 0.9, 0.9], [0.95, 0.9, 0.89, 0.8])
    (0.25, None, None)
    """
    baseline, system = _pairs(baseline, system)
    rounding = 1e-9  # 0.90 - 0.89 must not count as more than 0.01
    harmed = (baseline - system > margin + rounding).sum().item()
    if len(baseline) < MIN_SPEAKERS:
        return harmed / len(baseline), None, None
    interval = binomtest(harmed, len(baseline)).proportion_ci(method="wilson")
    return harmed / len(baseline), interval.low, interval.high


def hardest_fifth(scores):
    """Fifth of the speakers with the lowest accuracy, hardest first.

    Where errors are rare most speakers have none. Of equal accuracies the higher NLL is harder, and
    of these the earlier name.

    Arguments
    ---------
    scores : dict
        ``{speaker: (accuracy, nll)}``, the NLL in nats.

    Returns
    -------
    list of str
        A fifth of the speakers, rounded down, at least one.

    Example
    -------
    >>> hardest_fifth({"d": (0.9, 0.3), "a": (0.8, 0.5), "c": (0.7, 0.9), "b": (0.7, 0.8)})
    ['c']
    """
    ranked = sorted((accuracy, -nll, speaker) for speaker, (accuracy, nll) in scores.items())
    return [speaker for _, _, speaker in ranked[: max(1, len(ranked) // 5)]]


def _speaker_values(values):
    values = torch.as_tensor(values, dtype=torch.float64)
    if values.ndim != 1 or len(values) == 0 or not values.isfinite().all():
        raise ValueError(
            f"got values of shape {tuple(values.shape)}, expected one finite value per speaker, "
            "shape (N,) with N >= 1"
        )
    return values


def _pairs(baseline, system):
    baseline, system = _speaker_values(baseline), _speaker_values(system)
    if len(baseline) != len(system):
        raise ValueError(
            f"got {len(baseline)} speakers in the baseline and {len(system)} in the system, "
            "expected the same speakers in the same order"
        )
    return baseline, system


@lru_cache(maxsize=2)  # a comparison resamples all speakers and the hardest ones, many times
def _resamples(num_speakers, num_resamples, seed):
    """How often each resample holds each speaker, shape (num_resamples, num_speakers)."""
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.randint(num_speakers, (num_resamples, num_speakers), generator=generator)
    counts = torch.zeros(num_resamples, num_speakers, dtype=torch.float64)
    return counts.scatter_add_(1, drawn, torch.ones_like(counts))


def _percentiles(resampled, level):
    tails = torch.tensor([(1 - level) / 2, (1 + level) / 2], dtype=resampled.dtype)
    return resampled.quantile(tails).tolist()
