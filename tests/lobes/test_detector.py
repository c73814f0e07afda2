"""The detection model: the calls of a personalized one, and what it puts out."""

import pytest
import torch

from vofp_plugin.lobes.detection_head import DetectionHead
from vofp_plugin.lobes.detector import Detector
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.models.trunk import Trunk


@pytest.fixture
def model():
    trunk = Trunk(DSCNN(num_classes=5, channels=8, num_blocks=1))
    return Detector(trunk, DetectionHead(trunk.embedding_size, code_size=6)).eval()


def feats(*shape):
    return torch.randn(*shape, 31, 40)


def test_output_is_words_and_then_the_score(model):
    queries = feats(4)
    weights = model.personalize(Enrollment(feats(2, 3), torch.ones(2, 3)))
    output = model(queries, torch.ones(4), weights)
    log_probs, codes = model.hear(queries)
    torch.testing.assert_close(output[:, :5], log_probs)
    torch.testing.assert_close(output[:, 5], model.head(codes, weights))
    torch.testing.assert_close(log_probs.exp().sum(1), torch.ones(4))


def test_words_do_not_depend_on_who_is_enrolled(model):
    queries = feats(4)
    one, other = (model.personalize(Enrollment(feats(2, 1), torch.ones(2, 1))) for _ in range(2))
    torch.testing.assert_close(model(queries, None, one)[:, :5], model(queries, None, other)[:, :5])
    assert not torch.allclose(model(queries, None, one)[:, 5], model(queries, None, other)[:, 5])


@pytest.mark.parametrize("shots", [0, 2])
def test_nobody_enrolled_gives_score_zero(model, shots):
    weights = model.personalize(Enrollment(feats(2, shots), torch.zeros(2, shots)))
    assert not model(feats(4), None, weights)[:, 5].any()
    assert not model(feats(4))[:, 5].any()


def test_summaries_of_absent_utterances_are_those_of_the_others(model):
    heard = feats(2, 3)
    lens = torch.tensor([[1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
    summary = model.summarize(Enrollment(heard, lens))
    alone = model.summarize(Enrollment(heard[1:, :1], torch.ones(1, 1)))
    assert summary.precisions.tolist() == [[2.0], [1.0]]
    torch.testing.assert_close(summary.values[1:], alone.values)
    assert model.summarize(summary) is summary


def test_merged_model_answers_without_weights(model):
    queries, weights = feats(4), model.personalize(Enrollment(feats(1, 3), torch.ones(1, 3)))
    plain = model.merge(weights)
    torch.testing.assert_close(plain(queries), model(queries, None, weights))
    assert type(plain.head.detector) is torch.nn.Linear
    assert not model(queries)[:, 5].any()
