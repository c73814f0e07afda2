"""Errors of a detector: hand-computed cases, SpeechBrain's figures, and speed."""

import numpy as np
import pytest
import torch
from speechbrain.utils.metric_stats import EER, minDCF

from vofp_plugin.tasks.det_curve import DetCurve


def random_claims(num_claims, seed=0, digits=None):
    """Scores and classes of claims, fewer true than false; rounded ones have ties."""
    generator = np.random.default_rng(seed)
    accepted = generator.random(num_claims) < 0.3
    scores = generator.normal(size=num_claims) + 1.5 * accepted
    return scores if digits is None else scores.round(digits), accepted


@pytest.mark.parametrize("digits", [None, 1])
@pytest.mark.parametrize("seed", range(3))
def test_rates_are_those_of_speechbrain(seed, digits):
    scores, accepted = random_claims(700, seed, digits)
    true, false = (torch.from_numpy(scores[x]).float() for x in (accepted, ~accepted))
    curve = DetCurve.of(scores, accepted)
    assert curve.equal_error()[0] == pytest.approx(EER(true, false)[0], abs=1e-6)
    for p_target in (0.01, 0.5):
        expected = minDCF(true, false, p_target=p_target)[0]
        assert curve.min_dcf(p_target)[0] == pytest.approx(expected, abs=1e-6)


def test_curve_by_hand():
    """Four true claims at 1, 2, 3, 4 and two false ones at 0, 2; both at 2 go together."""
    curve = DetCurve.of([1, 2, 3, 4, 0, 2], [True] * 4 + [False] * 2)
    assert curve.thresholds.tolist() == [0, 1, 2, 3, 4, np.inf]
    assert curve.far.tolist() == [1, 0.5, 0.5, 0, 0, 0]
    assert curve.frr.tolist() == [0, 0, 0.25, 0.5, 0.75, 1]
    assert curve.equal_error() == (0.375, 2)
    assert curve.frr_at(0.5) == (0, 1) and curve.frr_at(0.1) == (0.5, 3)
    assert curve.at(2) == (0.5, 0.25) and curve.at(2.5) == (0, 0.5)
    assert curve.at(9) == (0, 1) and curve.at(-9) == (1, 0)


def test_separable_claims_have_no_error_and_equal_ones_half():
    assert DetCurve.of([1, 2, 3, 4], [False, False, True, True]).equal_error() == (0, 3)
    assert DetCurve.of([1, 1, 1, 1], [False, False, True, True]).equal_error()[0] == 0.5


def test_weight_counts_as_often_as_the_claim_repeated():
    scores, accepted = random_claims(60, digits=1)
    times = np.random.default_rng(1).integers(0, 4, 60)
    weighted = DetCurve.of(scores, accepted, times)
    repeated = DetCurve.of(scores.repeat(times), accepted.repeat(times))
    assert weighted.equal_error()[0] == pytest.approx(repeated.equal_error()[0])
    assert weighted.frr_at(0.1)[0] == pytest.approx(repeated.frr_at(0.1)[0])


def test_order_of_the_claims_does_not_matter():
    scores, accepted = random_claims(200, digits=1)
    order = np.random.default_rng(2).permutation(200)
    for one, other in zip(
        DetCurve.of(scores, accepted), DetCurve.of(scores[order], accepted[order]), strict=True
    ):
        np.testing.assert_allclose(one, other)


@pytest.mark.parametrize(
    "scores, accepted, message",
    [
        ([1.0, 2.0], [True, True], "no false claims"),
        ([1.0, 2.0], [False, False], "no true claims"),
        ([1.0, np.nan], [True, False], "1 scores that are NaN"),
        ([1.0, 2.0], [True], "one of each for every claim"),
        ([], [], "no true claims"),
    ],
)
def test_bad_claims_are_refused(scores, accepted, message):
    with pytest.raises(ValueError, match=message):
        DetCurve.of(scores, accepted)
