"""Heads of personal keywords: closed forms, sums of summaries, and none that detects nothing."""

import pytest
import torch

from vofp_plugin.lobes.detection_head import AmortizedHead, CosineHead
from vofp_plugin.lobes.enrollment import Enrollment, Summary
from vofp_plugin.lobes.keyword_detector import KeywordDetector
from vofp_plugin.lobes.keyword_head import NOTHING, KeywordHead, WordHead
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.models.keyword_trunk import KeywordTrunk


def unit(*shape):
    return torch.nn.functional.normalize(torch.randn(*shape), dim=-1)


@pytest.mark.parametrize("shots", [1, 2, 3, 5])
def test_likeness_is_the_posterior_mean_of_a_normal_with_every_pair_as_an_observation(shots):
    head = WordHead(embedding_size=20, code_size=8)
    codes = unit(2, shots, 8) + 1.0
    codes = codes / codes.norm(dim=-1, keepdim=True)
    pairs = [
        [float(codes[n, i] @ codes[n, j]) for i in range(shots) for j in range(i)] for n in (0, 1)
    ]
    expected = [(0.7 + sum(values)) / (1 + len(values)) for values in pairs]
    got = head.likeness(head.summarize(codes)).flatten()
    torch.testing.assert_close(got, torch.tensor(expected))


def test_a_query_as_like_as_the_takes_scores_alike_for_every_word():
    """Takes at 60 and at 30 degrees to each other; queries as near to them as they are."""
    head = WordHead(embedding_size=20, code_size=3).eval()
    with torch.no_grad():
        head.log_pairs.fill_(-20.0)
    scores = []
    for cosine in (0.5, 0.866):
        first = torch.tensor([1.0, 0.0, 0.0])
        second = torch.tensor([cosine, (1 - cosine**2) ** 0.5, 0.0])
        across = cosine * (1 - cosine) / (1 - cosine**2) ** 0.5
        query = torch.tensor([cosine, across, (1 - cosine**2 - across**2) ** 0.5])
        takes = torch.stack([first, second])
        torch.testing.assert_close(takes @ query, torch.full((2,), cosine))
        weights = head.weights(head.summarize(takes[None]))
        scores.append(head(query[None], weights).item())
    assert scores[0] == pytest.approx(scores[1], abs=1e-3)


def test_summaries_of_takes_add_up():
    head = KeywordHead(WordHead(20, 8), CosineHead(20, 4)).eval()
    codes = torch.cat([unit(1, 3, 8), unit(1, 3, 4)], dim=2)
    parts = [head.summarize(codes[:, part]) for part in (slice(0, 1), slice(1, 3))]
    added = Summary(*(sum(values) for values in zip(*parts, strict=True)))
    for one, other in zip(
        head.weights(added).values(), head.weights(head.summarize(codes)).values(), strict=True
    ):
        torch.testing.assert_close(one, other)


@pytest.fixture(params=["closed form", "amortized"])
def model(request):
    trunk = KeywordTrunk(DSCNN(num_classes=1, channels=8, num_blocks=1))
    heads = {"closed form": (WordHead, CosineHead), "amortized": (AmortizedHead, AmortizedHead)}
    word, voice = heads[request.param]
    head = KeywordHead(word(trunk.word_size, 6), voice(trunk.embedding_size, 4))
    return KeywordDetector(trunk, head).eval()


def test_scores_of_pairs_are_those_of_personalized_and_of_merged_models(model):
    weights = model.personalize(Enrollment(torch.randn(3, 2, 101, 40), torch.ones(3, 2)))
    feats = torch.randn(6, 101, 40)
    with torch.no_grad():
        codes = model.hear(feats)[1]
        pairs = model.head.all_pairs(codes, weights)
        for target in range(3):
            own = {name: weight[target : target + 1] for name, weight in weights.items()}
            torch.testing.assert_close(model(feats, weights=own), pairs[target])
            torch.testing.assert_close(model.merge(own)(feats), pairs[target])


def test_nothing_is_detected_without_enrollment():
    trunk = KeywordTrunk(DSCNN(num_classes=1, channels=8, num_blocks=1))
    head = KeywordHead(WordHead(trunk.word_size, 6), CosineHead(trunk.embedding_size, 4))
    model = KeywordDetector(trunk, head).eval()
    head.word.calibrate(2.0, 3.0)
    weights = model.personalize(Enrollment(torch.zeros(1, 0, 101, 40), torch.zeros(1, 0)))
    scores = model(torch.randn(5, 101, 40), weights=weights)
    assert (scores[:, 0] == NOTHING).all() and not scores[:, 1].any()
