"""Accuracy, likelihood and calibration of answers among classes."""

import pytest
import torch

from vofp_plugin.tasks.classification import (
    SpeakerScores,
    calibration_bins,
    expected_calibration_error,
)


def normal(size, seed=0):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_calibration_bins_are_brute_force_and_add_up():
    log_probs = (3 * normal(600).view(200, 3)).log_softmax(dim=1)
    targets = torch.arange(200) % 3
    expected = torch.zeros(15, 3, dtype=torch.float64)
    for row, target in zip(log_probs.exp(), targets, strict=True):
        confidence = row.max().item()
        index = next(i for i in range(15) if i / 15 < confidence <= (i + 1) / 15)
        correct = float(row.argmax() == target)
        expected[index] += torch.tensor([1.0, confidence, correct])
    bins = calibration_bins(log_probs, targets)
    halves = [calibration_bins(log_probs[s], targets[s]) for s in (slice(50), slice(50, None))]
    torch.testing.assert_close(bins, expected)
    torch.testing.assert_close(sum(halves), expected)
    gaps = (expected[:, 1] - expected[:, 2]).abs().sum() / 200
    assert expected_calibration_error(bins) == pytest.approx(gaps.item())


def test_certain_answers_fall_into_the_last_bin():
    bins = calibration_bins(torch.tensor([[0.0, -1e4]]), torch.tensor([0]))
    assert bins[-1].tolist() == [1.0, 1.0, 1.0]
    assert expected_calibration_error(bins) == 0.0
    with pytest.raises(ValueError, match="empty calibration bins"):
        expected_calibration_error(torch.zeros(15, 3))


def test_speaker_scores_pool_draws_within_a_speaker():
    log_probs = normal(18).view(6, 3).log_softmax(dim=1)
    targets = torch.tensor([0, 1, 2, 0, 1, 2])
    scores = SpeakerScores()
    scores.add("zoe", log_probs[:1], targets[:1])
    scores.add("adam", log_probs[1:2], targets[1:2])
    scores.add("zoe", log_probs[2:], targets[2:])
    adam, zoe = scores.per_speaker()
    chosen = [0, 2, 3, 4, 5]
    correct = (log_probs.argmax(dim=1) == targets)[chosen].double().mean().item()
    nll = torch.nn.functional.nll_loss(log_probs[chosen], targets[chosen]).item()
    assert (adam["speaker"], adam["num_queries"]) == ("adam", 1)
    assert zoe["num_queries"] == 5
    assert zoe["accuracy"] == pytest.approx(correct)
    assert zoe["nll"] == pytest.approx(nll)


@pytest.mark.parametrize(
    ("log_probs", "message"),
    [
        (torch.tensor([[2.0, 1.0]]), "apply log_softmax to logits"),
        (torch.tensor([[float("nan"), 0.0]]), "diverged"),
        (torch.tensor([[-float("inf"), 0.0]]), "finite log-probabilities"),
        (torch.zeros(2, 1), "targets of shape"),
        (torch.zeros(1), "log_probs of shape"),
    ],
)
def test_what_is_no_log_probability_is_refused(log_probs, message):
    with pytest.raises(ValueError, match=message):
        SpeakerScores().add("anna", log_probs, torch.tensor([0]))
    with pytest.raises(ValueError, match=message):
        calibration_bins(log_probs, torch.tensor([0]))
