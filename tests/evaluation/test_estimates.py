"""Estimates over speakers against closed forms and brute force."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest, permutation_test

from vofp_plugin.evaluation.estimates import bootstrap, harm, sign_flip_test


def normal(size, seed=0):
    return np.random.default_rng(seed).normal(size=size)


def one(estimates):
    """The value and the interval of the only column."""
    return tuple(estimates.loc[0])


def is_without_interval(estimates):
    return estimates[["ci_low", "ci_high"]].isna().all(axis=None)


def test_bootstrap_interval_is_that_of_the_central_limit_theorem():
    values = 3 + 2 * normal(400)
    mean, low, high = one(bootstrap(values))
    half = 1.96 * values.std() / 20
    assert mean == pytest.approx(values.mean())
    assert low == pytest.approx(mean - half, abs=0.1 * half)
    assert high == pytest.approx(mean + half, abs=0.1 * half)


def test_bootstrap_level_and_seed():
    values = normal(50)
    _, low, high = one(bootstrap(values))
    _, low_50, high_50 = one(bootstrap(values, level=0.5))
    assert low < low_50 < high_50 < high
    assert bootstrap(values).equals(bootstrap(values))
    assert not bootstrap(values).equals(bootstrap(values, seed=1))


def test_bootstrap_resamples_all_columns_alike():
    values = normal(30)
    result = bootstrap(np.stack([values, 2 * values, -values], axis=1))
    np.testing.assert_allclose(result.loc[1], 2 * result.loc[0])
    np.testing.assert_allclose(result.ci_high[2], -result.ci_low[0])


def test_bootstrap_interval_covers_the_truth_as_often_as_it_says():
    covered = 0
    for seed in range(300):
        _, low, high = one(bootstrap(normal(60, seed), num_resamples=400, seed=seed))
        covered += low <= 0 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_no_interval_below_twenty_speakers():
    assert is_without_interval(bootstrap(range(19)))
    assert bootstrap(range(20)).notna().all(axis=None)
    assert is_without_interval(bootstrap([0.3] * 19, over=[0.5] * 19))
    assert is_without_interval(harm([0.3] * 19))


@pytest.mark.parametrize("values", [[], [1.0, float("nan")], [1.0, float("inf")]])
def test_bad_values_are_refused(values):
    for function in (bootstrap, sign_flip_test, harm):
        with pytest.raises(ValueError, match="one finite value per speaker"):
            function(values)


@pytest.mark.parametrize("size", [1, 2, 7, 11])
def test_sign_flip_test_is_brute_force(size):
    differences = (0.3 + normal(size)).round(1)  # rounding makes ties
    sums = [abs(sum(signs * differences)) for signs in product((1, -1), repeat=size)]
    expected = sum(value >= abs(sum(differences)) - 1e-9 for value in sums) / 2**size
    assert sign_flip_test(differences) == [pytest.approx(expected)]


def test_sign_flip_test_is_the_permutation_test_of_scipy():
    table = 0.3 + normal((8, 3))
    expected = permutation_test((table,), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip_test(table) == pytest.approx(expected.pvalue)


def test_sign_flip_test_at_its_ends():
    assert sign_flip_test([0.1] * 20) == [2 / 2**20]
    assert sign_flip_test([0.0, 0.0]) == [1.0]
    with pytest.raises(ValueError, match="got 21 differences, expected at most 20"):
        sign_flip_test([0.1] * 21)


def test_ratio_is_of_means_and_resamples_pairs():
    errors = 0.5 - 0.3 * np.sin(np.arange(40))
    # Every speaker loses half of their errors, so every resample of pairs does.
    assert one(bootstrap(0.5 * errors, over=errors)) == pytest.approx((0.5, 0.5, 0.5))
    assert one(bootstrap([-0.1, -0.1], over=[0.1, 0.3]))[0] == pytest.approx(-0.5)


def test_ratio_interval_is_that_of_the_delta_method():
    denominator = 2 + 0.5 * normal(400)
    numerator = denominator / 2 + 0.3 * normal(400, seed=1)
    ratio, low, high = one(bootstrap(numerator, over=denominator))
    assert ratio == pytest.approx(numerator.sum() / denominator.sum())
    residual = (numerator - ratio * denominator).std()
    half = 1.96 * residual / 20 / denominator.mean()
    assert low == pytest.approx(ratio - half, abs=0.1 * half)
    assert high == pytest.approx(ratio + half, abs=0.1 * half)


def test_ratio_to_what_may_be_nothing():
    with pytest.raises(ValueError, match="of at least -0.5, expected the same speakers and pos"):
        bootstrap([1.0, 1.0], over=[0.0, -1.0])
    with pytest.raises(ValueError, match="got 2 speakers to divide by 1"):
        bootstrap([0.9, 0.9], over=[0.9])
    rarely_positive = np.eye(20)[0]
    estimates = bootstrap(np.ones((20, 2)), over=np.stack([rarely_positive, np.ones(20)], axis=1))
    assert list(estimates.value) == [20.0, 1.0]
    assert list(estimates.ci_low.isna()) == [True, False]  # one column is no reason for others


def test_harm_counts_more_than_the_margin_only():
    # 0.90 - 0.89 exceeds 0.01 in floating point.
    assert one(harm([0.9 - 0.89, 0.9 - 0.88, 0.9 - 0.91]))[0] == pytest.approx(1 / 3)
    for harmed in (0, 10, 40):
        estimates = one(harm([0.2] * harmed + [0.0] * (40 - harmed)))
        interval = binomtest(harmed, 40).proportion_ci(method="wilson")
        assert estimates == pytest.approx((harmed / 40, interval.low, interval.high))
    # By hand: z^2 / (n + z^2) with z = 1.96.
    assert one(harm([0.0] * 24)) == pytest.approx((0.0, 0.0, 0.1380), abs=1e-4)
