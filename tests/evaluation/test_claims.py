"""Scores of claims are those of the model's own calls."""

import numpy as np
import pytest
import torch
from made_up_trials import TRIALS, WORDS, trial_set

from vofp_plugin.dataio.utterances import Utterances
from vofp_plugin.evaluation.claims import ClaimScorer
from vofp_plugin.evaluation.conditions import Condition
from vofp_plugin.lobes.detection_head import DetectionHead
from vofp_plugin.lobes.detector import Detector
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.models.trunk import Trunk


@pytest.fixture(scope="module")
def model():
    trunk = Trunk(DSCNN(num_classes=3, channels=8, num_blocks=1))
    return Detector(trunk, DetectionHead(trunk.embedding_size, code_size=4)).eval()


ASKED = trial_set()
CLAIMED = np.array([WORDS[trial.word] for trial in TRIALS])


def utterances(count, seed):
    feats = np.random.default_rng(seed).normal(size=(count, 101, 40)).astype(np.float32)
    return Utterances(feats, torch.ones(count), torch.zeros(count).long())


@pytest.fixture(scope="module")
def condition():
    return Condition(utterances(12, 0), [utterances(12, seed) for seed in (1, 2, 3)])


def expected(model, condition, asked, enrolled_by, shots):
    """Scores by the calls of a personalized model, one trial at a time."""
    scores = []
    for enrollment, query in zip(asked.enrollment, asked.query, strict=True):
        room = condition.room_of(asked.speakers[enrollment])
        feats = room.features(asked.places[enrolled_by[enrollment]][:shots])
        weights = model.personalize(Enrollment(feats[None], torch.ones(1, shots)))
        scores.append(model(condition.queries.features([query]), weights=weights)[0])
    return torch.stack(scores)


@pytest.mark.parametrize("shots", [1, 2])
def test_scores_are_those_of_the_personalized_model(model, condition, shots):
    scorer = ClaimScorer(model, condition, ASKED, CLAIMED)
    with torch.no_grad():
        output = expected(model, condition, ASKED, np.arange(3), shots)
        strange = expected(model, condition, ASKED, ASKED.strangers(), shots)
    log_probs = output[np.arange(len(CLAIMED)), CLAIMED]
    own, stranger = scorer.scores("own", shots), scorer.scores("stranger", shots)
    torch.testing.assert_close(own[:, 0].sigmoid().log(), log_probs)
    torch.testing.assert_close(own[:, 1], output[:, -1])
    torch.testing.assert_close(stranger[:, 1], strange[:, -1])
    assert torch.equal(own[:, 0], stranger[:, 0])


def test_none_is_the_word_alone(model, condition):
    scorer = ClaimScorer(model, condition, ASKED, CLAIMED)
    none = scorer.scores("none", 0)
    assert torch.equal(none[:, 0], scorer.scores("own", 1)[:, 0]) and not none[:, 1].any()


def test_speakers_alone(model, condition):
    both = ClaimScorer(model, condition, ASKED, CLAIMED).scores("own", 2)
    alone = ClaimScorer(model, condition, ASKED).scores("own", 2)
    assert torch.equal(alone[:, 1], both[:, 1]) and not alone[:, 0].any()


def test_bad_enrollments_are_heard_as_they_are(model, condition):
    """Noise that a profile would refuse has length 0; two speakers are the target and another."""
    noise = utterances(12, 9)._replace(lens=torch.zeros(12))
    bad = condition._replace(bad={"noise": noise, "two_speakers": utterances(12, 1)})
    scorer = ClaimScorer(model, bad, ASKED)
    heard = condition._replace(rooms=[utterances(12, 9)])
    torch.testing.assert_close(
        scorer.scores("noise", 2), ClaimScorer(model, heard, ASKED).scores("own", 2)
    )
    quiet = ClaimScorer(model, condition._replace(rooms=[utterances(12, 1)]), ASKED)
    first = quiet.scores("own", 1)
    torch.testing.assert_close(scorer.scores("two_speakers", 1), first)
    assert not torch.allclose(scorer.scores("two_speakers", 2), quiet.scores("own", 2))
