"""Claims of an episode and the losses over them."""

import math

import pytest
import torch

from vofp_plugin.tasks.detection import (
    LEFT_OUT,
    OTHER_BOTH,
    OTHER_SPEAKER,
    OTHER_WORD,
    TARGET,
    Claims,
    pairwise_loss,
    prototype_softmax,
)


@pytest.fixture
def claims():
    """Two targets, one word each; queries of both speakers and words."""
    speakers, words = torch.tensor([0, 1]), torch.tensor([5, 6])
    return Claims.of_pairs(speakers, torch.tensor([0, 0, 1, 2]), words, torch.tensor([5, 6, 6, 6]))


def test_kinds_compare_speaker_and_word(claims):
    assert claims.kind.tolist() == [
        [TARGET, OTHER_WORD, OTHER_BOTH, OTHER_BOTH],
        [OTHER_BOTH, OTHER_SPEAKER, TARGET, OTHER_SPEAKER],
    ]


@pytest.mark.parametrize(
    "rule, accepted, rejected",
    [("target_only", 2, 6), ("target_biased", 2, 4), ("verification", 3, 5)],
)
def test_rules_accept_reject_and_leave_out(claims, rule, accepted, rejected):
    assert claims.accepted(rule).sum() == accepted and claims.rejected(rule).sum() == rejected
    assert not (claims.accepted(rule) & claims.rejected(rule)).any()


def test_pairs_that_are_not_asked_are_left_out():
    speakers, asked = torch.arange(3), ~torch.eye(3).bool()
    claims = Claims.of_pairs(speakers, speakers, asked=asked)
    assert (claims.kind.diagonal() == LEFT_OUT).all()
    assert not claims.accepted("verification").any()
    assert (claims.rejected("verification") == asked).all()


def test_prototype_softmax_is_cross_entropy_over_targets():
    scores = torch.randn(4, 6)
    speakers = torch.tensor([0, 1, 2, 3, 1, 0])
    claims = Claims.of_pairs(torch.arange(4), speakers)
    loss = prototype_softmax(
        scores, claims.accepted("verification"), claims.rejected("verification")
    )
    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(scores.T, speakers))


def test_pairwise_loss_by_hand():
    """True claims at 2 and 0, false ones at 1 and -1, two targets."""
    scores = torch.tensor([[2.0, 1.0], [-1.0, 0.0]])
    accepted = torch.eye(2).bool()
    false = math.log(math.e + 1 / math.e) - math.log(2)
    expected = sum(math.log1p(math.exp(false - true)) for true in (2, 0)) / 2
    assert pairwise_loss(scores, accepted, ~accepted).item() == pytest.approx(expected)


@pytest.mark.parametrize("loss", [prototype_softmax, pairwise_loss])
def test_claims_that_do_not_count_change_nothing(loss):
    scores = torch.randn(3, 5)
    claims = Claims.of_pairs(torch.arange(3), torch.tensor([0, 1, 2, 0, 1]))
    rejected = claims.rejected("verification").clone()
    rejected[0, 1] = False
    changed = scores.clone()
    changed[0, 1] = 50.0
    accepted = claims.accepted("verification")
    assert loss(scores, accepted, rejected) == loss(changed, accepted, rejected)


@pytest.mark.parametrize("loss", [prototype_softmax, pairwise_loss])
def test_nothing_to_accept_gives_zero_with_a_gradient(loss):
    scores = torch.randn(3, 5, requires_grad=True)
    none = torch.zeros(3, 5).bool()
    value = loss(scores, none, ~none)
    value.backward()
    assert value == 0 and not scores.grad.any()
