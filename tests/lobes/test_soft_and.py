"""Soft and: probabilities, and that fitting finds what made the claims."""

import pytest
import torch

from vofp_plugin.lobes.soft_and import SoftAnd


def test_it_is_the_product_of_probabilities():
    soft_and, scores = SoftAnd(2), torch.randn(50, 2)
    soft_and.scale.copy_(torch.tensor([0.5, 2.0]))
    soft_and.offset.copy_(torch.tensor([1.0, -1.0]))
    expected = (soft_and.scale * scores + soft_and.offset).sigmoid().prod(1)
    torch.testing.assert_close(soft_and(scores).sigmoid(), expected)


def test_nearly_sure_scores_keep_their_digits():
    scores = torch.tensor([[12.0, 15.0], [20.0, 20.0], [-15.0, 9.0], [3.0, 40.0]])
    exact = SoftAnd(2).double()(scores.double())
    torch.testing.assert_close(SoftAnd(2)(scores).double(), exact, rtol=1e-6, atol=0)


def test_extreme_scores_stay_finite():
    scores = torch.tensor([[1e4, 1e4], [-1e4, -1e4], [1e4, -1e4], [80.0, 80.0]])
    assert SoftAnd(2)(scores).isfinite().all() and SoftAnd(1)(scores[:, :1]).isfinite().all()


def claims(truth, count=4000):
    """Scores (M, S) and claims (M,) that are true as often as `truth` says."""
    scores = 3 * torch.randn(count, len(truth.scale))
    return scores, torch.rand(count) < truth(scores).sigmoid()


def test_fit_of_one_score_finds_the_scale_that_made_the_claims():
    truth = SoftAnd()
    truth.scale.fill_(0.8)
    fitted = SoftAnd().fit(*claims(truth))  # as many true as false ones
    torch.testing.assert_close(fitted.scale, truth.scale, rtol=0.1, atol=0)
    torch.testing.assert_close(fitted.offset, truth.offset, rtol=0, atol=0.1)


def test_fit_of_two_scores_is_as_likely_as_what_made_the_claims():
    truth = SoftAnd(2)
    truth.scale.copy_(torch.tensor([3.0, 0.5]))
    scores, accepted = claims(truth)
    sign = torch.where(accepted, 1.0, -1.0)
    half = torch.where(accepted, 0.5 / accepted.sum(), 0.5 / (~accepted).sum())

    def loss(model):
        return (half * torch.nn.functional.softplus(-sign * model(scores))).sum()

    fitted = SoftAnd(2).fit(scores, accepted)
    assert loss(fitted) < loss(truth) + 1e-3


def test_weight_counts_as_often_as_the_claim_repeated():
    scores, accepted = claims(SoftAnd(2), 200)
    times = torch.randint(0, 4, (200,))
    weighted = SoftAnd(2).fit(scores[times > 0], accepted[times > 0], times[times > 0])
    repeated = SoftAnd(2).fit(scores.repeat_interleave(times, 0), accepted.repeat_interleave(times))
    values = scores[:20]
    torch.testing.assert_close(weighted(values), repeated(values), rtol=0.05, atol=0.05)


def test_separable_claims_give_finite_scales():
    fitted = SoftAnd().fit(torch.tensor([[1.0], [2.0]]), torch.tensor([False, True]))
    assert fitted.scale.isfinite().all() and fitted.scale > 0


def test_one_class_is_refused():
    with pytest.raises(ValueError, match="all true"):
        SoftAnd().fit(torch.rand(3, 1), torch.ones(3).bool())
