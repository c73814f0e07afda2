"""Claims of an episode and the losses over them."""

import math

import pytest
import torch

from vofp_plugin.dataio.episodes import Episode
from vofp_plugin.lobes.baselines.film_head import FilmHead
from vofp_plugin.lobes.baselines.shared import SharedModel
from vofp_plugin.lobes.detection_head import AmortizedHead, DetectionHead
from vofp_plugin.lobes.detector import Detector
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.models.trunk import Trunk
from vofp_plugin.tasks.detection import (
    LEFT_OUT,
    OTHER_BOTH,
    OTHER_SPEAKER,
    OTHER_WORD,
    TARGET,
    Claims,
    DetectionTask,
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
    [("target_only", 2, 6), ("target_biased", 2, 4), ("verification", 3, 5), ("same_word", 2, 2)],
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


def made_up_episode(num_speakers=3, shots=2, num_queries=2):
    """An episode whose first speaker has one utterance less, and whose last one none."""
    lens = torch.ones(num_speakers, shots)
    lens[0, 1] = lens[-1] = 0
    sizes = (num_speakers, shots + num_queries)
    feats, labels = torch.randn(*sizes, 31, 40), torch.randint(0, 4, sizes)
    return Episode(
        Enrollment(feats[:, :shots], lens, labels[:, :shots]),
        Enrollment(feats[:, shots:], torch.ones(num_speakers, num_queries), labels[:, shots:]),
        torch.ones(num_speakers, num_queries).bool(),
    )


def made_up_model(head=DetectionHead):
    trunk = Trunk(DSCNN(num_classes=4, channels=8, num_blocks=1))
    return Detector(trunk, head(trunk.embedding_size, code_size=6))


def test_every_utterance_is_asked_as_every_target_but_what_enrolls_it():
    kind = DetectionTask().predict(made_up_model(), made_up_episode()).claims.kind
    same, other, out = TARGET, OTHER_SPEAKER, LEFT_OUT
    assert kind.tolist() == [
        [out, out, same, same, other, other, other, other, out, out, other, other],
        [other, out, other, other, out, out, same, same, out, out, other, other],
        [out] * 12,
    ]


def test_silence_is_nobodys_claim():
    episode = made_up_episode()
    spoken = episode.spoken.clone()
    spoken[1, 0] = False
    kind = DetectionTask().predict(made_up_model(), episode._replace(spoken=spoken)).claims.kind
    assert (kind[:, 6] == LEFT_OUT).all()


@pytest.mark.parametrize("head", [DetectionHead, AmortizedHead, FilmHead])
def test_objective_trains_trunk_and_head(head):
    task, model, episode = DetectionTask(), made_up_model(head), made_up_episode()
    heard = task.predict(model, episode)
    terms = task.objective(heard, episode)
    terms["loss"].backward()
    names = [n for n, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert names == []
    total = terms["nll"] + 0.5 * (terms["prototype"] + terms["pairwise"] + terms["kl"] / 12)
    torch.testing.assert_close(terms["loss"], total)


def test_answers_are_words():
    output, labels = torch.randn(3, 5), torch.arange(3)
    log_probs, targets = DetectionTask().answers(output, labels)
    assert log_probs.shape == (3, 4) and targets is labels


@pytest.mark.parametrize("setting", [{"rule": "anyone"}, {"weight": -1.0}, {"beta": -1.0}])
def test_bad_settings_are_refused(setting):
    with pytest.raises(ValueError, match=next(iter(setting))):
        DetectionTask(**setting)


def test_model_without_a_head_is_refused():
    with pytest.raises(ValueError, match="expected a Detector"):
        DetectionTask().check(SharedModel(DSCNN(num_classes=4)))
