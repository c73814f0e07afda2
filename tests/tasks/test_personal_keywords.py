"""The task of personal keywords: which claims are asked, and what its losses reward."""

import torch

from vofp_plugin.dataio.episodes import Episode
from vofp_plugin.lobes.detection_head import CosineHead
from vofp_plugin.lobes.enrollment import Enrollment
from vofp_plugin.lobes.keyword_detector import KeywordDetector
from vofp_plugin.lobes.keyword_head import KeywordHead, WordHead
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.models.keyword_trunk import KeywordTrunk
from vofp_plugin.tasks.personal_keywords import HeardWords, PersonalKeywordTask, straddle


def made_up_model():
    trunk = KeywordTrunk(DSCNN(num_classes=1, channels=8, num_blocks=1))
    head = KeywordHead(WordHead(trunk.word_size, 6), CosineHead(trunk.embedding_size, 4))
    return KeywordDetector(trunk, head)


def made_up_episode():
    """Two voices say words 0 and 1, one or two takes enroll each, and one is asked."""
    lens = torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
    words = torch.tensor([0, 1, 0, 1])
    labels = words.unsqueeze(1)
    return Episode(
        Enrollment(torch.randn(4, 2, 101, 40), lens, labels.expand(-1, 2)),
        Enrollment(torch.randn(4, 1, 101, 40), torch.ones(4, 1), labels),
        torch.ones(4, 1).bool(),
        torch.tensor([0, 0, 1, 1]),
    )


def test_what_enrolls_a_target_is_not_asked_as_it():
    heard = PersonalKeywordTask().predict(made_up_model(), made_up_episode())
    assert heard.scores.shape == (4, 14, 2), "12 items and 2 that straddle words"
    left_out = [(0, 0), (1, 3), (1, 4), (2, 6), (3, 9), (3, 10)]
    assert (~heard.asked).nonzero().tolist() == [list(place) for place in left_out]
    assert heard.same_word[0, :12].tolist() == [True] * 3 + [False] * 3 + [True] * 3 + [False] * 3
    assert not heard.same_word[:, 12:].any()
    assert heard.same_voice[0, :12].tolist() == [True] * 6 + [False] * 6


def made_up_scores(right):
    same_word = torch.tensor([[True, False, True, False], [False, True, False, True]] * 2)
    same_voice = torch.tensor([[True, True, False, False]] * 2 + [[False, False, True, True]] * 2)
    scores = torch.stack([same_word, same_voice], dim=2).float() * 10
    return HeardWords(
        scores if right else -scores,
        torch.ones(4, 4).bool(),
        same_word,
        same_voice,
        torch.tensor([0, 1, 0, 1]),
        torch.tensor([0, 0, 1, 1]),
        torch.zeros(4),
    )


def test_the_loss_falls_with_right_scores_in_every_term():
    task = PersonalKeywordTask()
    good, bad = (task.objective(made_up_scores(right), None) for right in (True, False))
    for name in ("word_prototype", "word_pairwise", "voice_prototype", "voice_pairwise", "loss"):
        assert good[name] < 0.2 < bad[name]


def test_one_step_of_all_parameters():
    model, task, episode = made_up_model(), PersonalKeywordTask(), made_up_episode()
    task.objective(task.predict(model, episode), episode)["loss"].backward()
    trained = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert not trained


def test_straddling_items_join_two_words_without_a_pause():
    feats = torch.full((6, 100, 40), -80.0)
    feats[:3, 20:40], feats[3:, 60:90] = 0.0, -5.0
    words, voices = torch.tensor([0, 0, 0, 1, 1, 1]), torch.zeros(6).long()
    made, of_voices = straddle(feats, words, voices, torch.Generator().manual_seed(0))
    assert made.shape == (1, 100, 40) and of_voices.tolist() == [0]
    loud = (made[0, :, 0] > -30).nonzero().flatten().tolist()
    assert len(loud) == 25 and loud == list(range(loud[0], loud[0] + 25))


def test_words_of_one_voice_alone_do_not_straddle_others():
    feats = torch.randn(12, 20, 40)
    made, voices = straddle(feats, torch.zeros(12).long(), torch.zeros(12).long())
    assert made.shape == (0, 20, 40) and not len(voices)
