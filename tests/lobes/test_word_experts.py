"""Known words: experts of enrolled words beside a classifier."""

import pytest
import torch

from vofp_plugin.lobes.detection_head import CosineHead
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.lobes.keyword_detector import KeywordDetector
from vofp_plugin.lobes.keyword_head import KeywordHead, WordHead
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.models.keyword_trunk import KeywordTrunk
from vofp_plugin.lobes.word_experts import WordExpertsModel

LABELS = torch.tensor([[0, 1], [2, 2]])
TAKES = 10 * torch.randn(2, 2, 101, 40)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    trunk = KeywordTrunk(DSCNN(num_classes=1, channels=6, num_blocks=1))
    head = KeywordHead(WordHead(trunk.word_size, 8), CosineHead(trunk.embedding_size, 8))
    words = KeywordDetector(trunk, head)
    return WordExpertsModel(DSCNN(num_classes=4, channels=6, num_blocks=1), words, [0.5]).eval()


def personalized(model, lens):
    model.setting = model.settings[-1]
    return model.personalize(Enrollment(TAKES, lens, LABELS))


def test_a_take_makes_its_own_word_likelier_and_other_classes_keep_their_odds(model):
    weights = personalized(model, torch.ones(2, 2))
    queries = torch.stack([TAKES[0, 0], TAKES[1, 1]])
    before, after = model(queries), model(queries, weights=weights)
    for speaker, (word, others) in enumerate([(0, [2, 3]), (2, [0, 1, 3])]):
        assert after[speaker, word] > before[speaker, word]
        odds = (scores[speaker, others].diff() for scores in (before, after))
        torch.testing.assert_close(*odds)
    torch.testing.assert_close(after.exp().sum(1), torch.ones(2))


def test_absent_takes_make_no_expert(model):
    lens = torch.tensor([[1.0, 1.0], [0.0, 0.0]])
    weights, queries = personalized(model, lens), torch.randn(4, 101, 40)
    torch.testing.assert_close(model(queries, weights=weights)[2:], model(queries)[2:])


def test_doing_nothing_is_among_the_settings(model):
    model.setting = model.settings[0]
    assert model.personalize(Enrollment(TAKES, torch.ones(2, 2), LABELS)) is None
