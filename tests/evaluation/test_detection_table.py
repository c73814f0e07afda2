"""Tables of detection: weights, intervals over speakers, one threshold for all K."""

import time

import numpy as np
import pytest

from vofp_plugin.evaluation.detection_table import (
    TrialFacts,
    detection_rows,
    interval,
    resampled_errors,
)
from vofp_plugin.evaluation.trial_lists import Trial
from vofp_plugin.tasks.det_curve import DetCurve
from vofp_plugin.tasks.detection import OTHER_BOTH, OTHER_SPEAKER, OTHER_WORD, TARGET


def made_up(num_speakers=30, queries=4, seed=0):
    """Facts of trials of all four kinds, and scores that tell them apart but not always."""
    generator = np.random.default_rng(seed)
    target = np.repeat(np.arange(num_speakers), 4 * queries)
    kind = np.tile(
        np.repeat([TARGET, OTHER_WORD, OTHER_SPEAKER, OTHER_BOTH], queries), num_speakers
    )
    strangers = (target + generator.integers(1, num_speakers, len(target))) % num_speakers
    facts = TrialFacts(kind, target, np.where(kind >= OTHER_SPEAKER, strangers, target))
    return facts, generator.normal(size=len(kind)) + 3.0 * (kind == TARGET)


def test_facts_are_looked_up():
    manifest = {
        "a1": {"spk_id": "ann", "command": "up"},
        "a2": {"spk_id": "ann", "command": "up"},
        "b1": {"spk_id": "bob", "command": "up"},
    }
    claims = [("a2", "up"), ("a2", "down"), ("b1", "up"), ("b1", "down"), ("b1", None)]
    trials = [Trial(False, "ann", query, word) for query, word in claims]
    facts = TrialFacts.of(trials, {"ann": ["a1"]}, manifest)
    assert facts.kind.tolist() == [TARGET, OTHER_WORD, OTHER_SPEAKER, OTHER_BOTH, OTHER_SPEAKER]
    assert facts.target.tolist() == [0] * 5 and facts.asked.tolist() == [0, 0, 1, 1, 1]


def test_kinds_count_alike_and_targets_within_them():
    """The first target has three trials of a kind, the second one."""
    kind = np.array([TARGET] * 4 + [OTHER_WORD] * 4 + [OTHER_SPEAKER] * 2)
    target = np.array([0, 0, 0, 1, 0, 0, 0, 1, 0, 1])
    weights = TrialFacts(kind, target, target).weights("target_only")
    assert weights[:4].tolist() == pytest.approx([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    assert [weights[kind == k].sum() for k in (TARGET, OTHER_WORD, OTHER_SPEAKER)] == [1, 1, 1]


def test_only_the_chosen_kind_counts():
    facts, _ = made_up()
    weights = facts.weights("target_only", [OTHER_SPEAKER])
    assert set(facts.kind[weights > 0]) == {TARGET, OTHER_SPEAKER}


def test_rows_are_of_each_kind_and_each_k_and_of_all():
    facts, scores = made_up()
    rows = detection_rows({1: scores, 3: scores + 1}, facts, "target_only", 1.5, num_resamples=20)
    assert [row["shots"] for row in rows[:3]] == [1, 3, "all"]
    assert len(rows) == 4 * 3 and rows[-1]["negatives"] == "all kinds"
    for row in rows:
        assert 0 < row["low"] <= row["eer"] <= row["high"] < 0.3
        assert row["frr_at_01"] >= row["frr_at_1"] and row["actual"] >= 0.8 * row["eer"]


def test_one_threshold_for_scores_that_shift_with_k_costs_errors():
    facts, scores = made_up()
    rows = detection_rows({1: scores, 3: scores + 2}, facts, "target_only", 1.5, num_resamples=0)
    one, three, together = (row["eer"] for row in rows[-3:])
    assert one == three < together


def test_few_speakers_give_no_interval():
    facts, scores = made_up(num_speakers=19)
    (row, *_) = detection_rows({1: scores}, facts, "target_only", 0.0)
    assert row["low"] is None and row["high"] is None


def test_impostors_are_resampled_too():
    """One impostor passes as everybody: that is luck of the draw of impostors alone."""
    facts, _ = made_up(num_speakers=40, queries=20)
    scores = np.where((facts.kind == TARGET) | (facts.asked == 7), 1.0, 0.0)
    scores = scores + 1e-6 * np.arange(len(scores))
    low, high = interval(resampled_errors(scores, facts, "target_only", [OTHER_SPEAKER], 200))
    assert high - low > 0.02


def test_differences_are_paired():
    facts, scores = made_up()
    one = resampled_errors(scores, facts, "target_only", num_resamples=50)
    other = resampled_errors(2 * scores + 1, facts, "target_only", num_resamples=50)
    np.testing.assert_allclose(one, other)


def test_a_resample_is_what_counting_by_hand_gives():
    facts, scores = made_up()
    errors = resampled_errors(scores, facts, "target_only", num_resamples=3, seed=5)
    drawn = np.random.default_rng(5).integers(0, 30, (3, 30))
    weights = facts.weights("target_only")
    for speakers, error in zip(drawn, errors, strict=True):
        times = np.bincount(speakers, minlength=30)
        others = np.where(facts.target != facts.asked, times[facts.asked], 1)
        counted = weights * times[facts.target] * others
        curve = DetCurve.of(scores, facts.accepted("target_only"), counted)
        assert error == pytest.approx(curve.equal_error()[0], abs=2e-3)


def test_intervals_of_many_trials_take_seconds():
    facts, scores = made_up(num_speakers=80, queries=150)
    started = time.process_time()
    resampled_errors(scores, facts, "target_only", num_resamples=200)
    assert time.process_time() - started < 3.0
