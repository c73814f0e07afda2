"""Statistics against closed forms and brute force."""

from itertools import product

import pytest
import torch

from vofp_plugin.evaluation.scores import (
    bootstrap_mean,
    bootstrap_ratio,
    error_reduction,
    hardest_fifth,
    harm,
    sign_flip_test,
)
from vofp_plugin.tasks.classification import (
    SpeakerScores,
    calibration_bins,
    expected_calibration_error,
)


def normal(size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_bootstrap_interval_is_that_of_the_central_limit_theorem():
    values = 3 + 2 * normal(400)
    mean, low, high = bootstrap_mean(values)
    half = 1.96 * values.std().item() / 20
    assert mean == pytest.approx(values.mean().item())
    assert low == pytest.approx(mean - half, abs=0.1 * half)
    assert high == pytest.approx(mean + half, abs=0.1 * half)


def test_bootstrap_level_and_seed():
    values = normal(50)
    _, low, high = bootstrap_mean(values)
    _, low_50, high_50 = bootstrap_mean(values, level=0.5)
    assert low < low_50 < high_50 < high
    assert bootstrap_mean(values) == bootstrap_mean(values) != bootstrap_mean(values, seed=1)


def test_bootstrap_interval_covers_the_truth_as_often_as_it_says():
    covered = 0
    for seed in range(300):
        _, low, high = bootstrap_mean(normal(60, seed), num_resamples=400, seed=seed)
        covered += low <= 0 <= high
    assert 0.90 <= covered / 300 <= 0.98


def test_no_interval_below_twenty_speakers():
    assert bootstrap_mean(torch.arange(19))[1:] == (None, None)
    assert None not in bootstrap_mean(torch.arange(20))
    assert error_reduction(torch.full((19,), 0.5), torch.full((19,), 0.8))[1:] == (None, None)


@pytest.mark.parametrize("values", [[], [[1.0]], [1.0, float("nan")]])
def test_bad_values_are_refused(values):
    for function in (bootstrap_mean, sign_flip_test):
        with pytest.raises(ValueError, match="one finite value per speaker"):
            function(values)


@pytest.mark.parametrize("size", [1, 2, 7, 11])
def test_sign_flip_test_is_brute_force(size):
    differences = (0.3 + normal(size)).round(decimals=1)  # rounding makes ties
    sums = [
        abs(sum(s * d for s, d in zip(signs, differences.tolist(), strict=True)))
        for signs in product((1, -1), repeat=size)
    ]
    observed = abs(sum(differences.tolist()))
    expected = sum(value >= observed - 1e-9 for value in sums) / 2**size
    assert sign_flip_test(differences) == pytest.approx(expected)


def test_sign_flip_test_at_its_ends():
    assert sign_flip_test([0.1] * 20) == 2 / 2**20
    assert sign_flip_test([0.0, 0.0]) == 1.0
    with pytest.raises(ValueError, match="got 21 differences, expected at most 20"):
        sign_flip_test([0.1] * 21)


def test_error_reduction_is_of_mean_errors_and_resamples_pairs():
    baseline = 0.5 + 0.3 * torch.sin(torch.arange(40, dtype=torch.float64))
    reduction, low, high = error_reduction(baseline, 1 - 0.5 * (1 - baseline))
    # Every speaker loses half of their errors, so every resample of pairs does.
    assert reduction == pytest.approx(0.5)
    assert low == pytest.approx(0.5)
    assert high == pytest.approx(0.5)
    worse, _, _ = error_reduction([0.9, 0.7], [0.8, 0.6])
    assert worse == pytest.approx(-0.5)


def test_error_reduction_where_errors_are_rare():
    with pytest.raises(ValueError, match="baseline without errors"):
        error_reduction([1.0, 1.0], [1.0, 0.9])
    baseline = torch.ones(20)
    baseline[0] = 0.9
    assert error_reduction(baseline, torch.ones(20)) == (1.0, None, None)


def test_ratio_interval_is_that_of_the_delta_method():
    denominator = 2 + 0.5 * normal(400)
    numerator = denominator / 2 + 0.3 * normal(400, seed=1)
    ratio, low, high = bootstrap_ratio(numerator, denominator)
    assert ratio == pytest.approx((numerator.sum() / denominator.sum()).item())
    residual = (numerator - ratio * denominator).std().item()
    half = 1.96 * residual / 20 / denominator.mean().item()
    assert low == pytest.approx(ratio - half, abs=0.1 * half)
    assert high == pytest.approx(ratio + half, abs=0.1 * half)


def test_ratio_to_what_may_be_nothing():
    with pytest.raises(ValueError, match="denominator of mean -0.5"):
        bootstrap_ratio([1.0, 1.0], [0.0, -1.0])
    rarely_positive = torch.zeros(20)
    rarely_positive[0] = 1.0
    assert bootstrap_ratio(torch.ones(20), rarely_positive) == (20.0, None, None)
    assert bootstrap_ratio(torch.ones(19), torch.ones(19)) == (1.0, None, None)


def test_harm_counts_more_than_the_margin_only():
    # 0.90 - 0.89 exceeds 0.01 in floating point.
    assert harm([0.9, 0.9, 0.9], [0.89, 0.88, 0.91])[0] == pytest.approx(1 / 3)
    share, low, high = harm(torch.full((40,), 0.9), torch.tensor([0.7] * 10 + [0.9] * 30))
    assert low < share == 0.25 < high
    # By hand: z^2 / (n + z^2) with z = 1.96.
    assert harm(torch.ones(24), torch.ones(24)) == pytest.approx((0.0, 0.0, 0.1380), abs=1e-4)
    with pytest.raises(ValueError, match="got 2 speakers in the baseline and 1"):
        harm([0.9, 0.9], [0.9])


def test_hardest_fifth_does_not_depend_on_the_order():
    scores = {f"s{i}": (value, 0.1) for i, value in enumerate([0.9, 0.5, 0.7, 0.5, 0.8] * 2)}
    expected = ["s1", "s3"]
    assert hardest_fifth(scores) == expected
    assert hardest_fifth(dict(reversed(scores.items()))) == expected
    assert hardest_fifth({"a": (1.0, 0.1), "b": (1.0, 0.1)}) == ["a"]


def test_hardest_of_those_without_an_error_are_the_least_sure():
    scores = dict.fromkeys("acdefghi", (1.0, 0.01)) | {"b": (0.9, 0.0), "j": (1.0, 0.3)}
    assert hardest_fifth(scores) == ["b", "j"]


def test_calibration_bins_are_brute_force_and_add_up():
    log_probs = (3 * normal(600).view(200, 3)).log_softmax(dim=1)
    targets = torch.arange(200) % 3
    expected = torch.zeros(15, 3, dtype=torch.float64)
    for row, target in zip(log_probs.exp(), targets, strict=True):
        confidence = row.max().item()
        index = next(i for i in range(15) if i / 15 < confidence <= (i + 1) / 15)
        correct = float(row.argmax() == target)
        expected[index] += torch.tensor([1.0, confidence, correct])
    bins = calibration_bins(log_probs, targets)
    halves = [calibration_bins(log_probs[s], targets[s]) for s in (slice(50), slice(50, None))]
    torch.testing.assert_close(bins, expected)
    torch.testing.assert_close(sum(halves), expected)
    gaps = (expected[:, 1] - expected[:, 2]).abs().sum() / 200
    assert expected_calibration_error(bins) == pytest.approx(gaps.item())


def test_certain_answers_fall_into_the_last_bin():
    bins = calibration_bins(torch.tensor([[0.0, -1e4]]), torch.tensor([0]))
    assert bins[-1].tolist() == [1.0, 1.0, 1.0]
    assert expected_calibration_error(bins) == 0.0
    with pytest.raises(ValueError, match="empty calibration bins"):
        expected_calibration_error(torch.zeros(15, 3))


def test_speaker_scores_pool_draws_within_a_speaker():
    log_probs = normal(18).view(6, 3).log_softmax(dim=1)
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    scores = SpeakerScores()
    scores.add("zoe", log_probs[:1], targets[:1])
    scores.add("adam", log_probs[1:2], targets[1:2])
    scores.add("zoe", log_probs[2:], targets[2:])
    adam, zoe = scores.per_speaker()
    chosen = [0, 2, 3, 4, 5]
    correct = (log_probs.argmax(dim=1) == targets)[chosen].double().mean().item()
    nll = torch.nn.functional.nll_loss(log_probs[chosen], targets[chosen]).item()
    assert (adam["speaker"], adam["num_queries"]) == ("adam", 1)
    assert zoe["num_queries"] == 5
    assert zoe["accuracy"] == pytest.approx(correct)
    assert zoe["nll"] == pytest.approx(nll)


@pytest.mark.parametrize(
    ("log_probs", "message"),
    [
        (torch.tensor([[2.0, 1.0]]), "apply log_softmax to logits"),
        (torch.tensor([[float("nan"), 0.0]]), "diverged"),
        (torch.tensor([[-float("inf"), 0.0]]), "finite log-probabilities"),
        (torch.zeros(2, 1), "targets of shape"),
        (torch.zeros(1), "log_probs of shape"),
    ],
)
def test_what_is_no_log_probability_is_refused(log_probs, message):
    with pytest.raises(ValueError, match=message):
        SpeakerScores().add("anna", log_probs, torch.tensor([0]))
    with pytest.raises(ValueError, match=message):
        calibration_bins(log_probs, torch.tensor([0]))
