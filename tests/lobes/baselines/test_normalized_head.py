"""Adaptive s-norm: by hand, alike in both calls, and without a cohort's scale."""

import pytest
import torch
from torch.nn.functional import normalize

from vofp_plugin.lobes.baselines.normalized_head import NormalizedCosineHead


@pytest.fixture
def head():
    head = NormalizedCosineHead(embedding_size=20, code_size=8, cohort_size=30, nearest=10)
    head.keep_cohort(normalize(torch.randn(50, 8), dim=1))
    return head.eval()


@torch.no_grad()
def test_scores_by_hand(head):
    codes = normalize(torch.randn(6, 8), dim=1)
    weights = head.weights(head.summarize(codes[None, :2]))
    scores = head.all_pairs(codes[2:], weights)[0]
    scale = head.log_scale.exp()
    mean = normalize(codes[:2].sum(dim=0), dim=0)
    mine = (scale * head.cohort @ mean).topk(10).values
    for code, score in zip(codes[2:], scores, strict=True):
        other = (scale * head.cohort @ code).topk(10).values
        raw = scale * code @ mean
        expected = ((raw - mine.mean()) / mine.std() + (raw - other.mean()) / other.std()) / 2
        torch.testing.assert_close(score, expected)


@torch.no_grad()
def test_calibrated_after_it_is_normalized(head):
    codes = normalize(torch.randn(6, 8), dim=1)
    weights = head.weights(head.summarize(codes.view(2, 3, 8)))
    before = head(codes, weights)
    torch.testing.assert_close(before, head.all_pairs(codes, weights)[[0, 0, 0, 1, 1, 1], range(6)])
    head.calibrate(2.0, -1.0)
    torch.testing.assert_close(head(codes, weights), 2 * before - 1)


def test_a_cohort_that_is_too_small_is_refused(head):
    with pytest.raises(ValueError, match="Got 20 codes for a cohort of 30"):
        head.keep_cohort(torch.randn(20, 8))
