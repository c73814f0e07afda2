"""Evaluation of detection: decision, rows, curves, and lists of a user's own."""

import numpy as np
import pytest
import torch

from vofp_plugin.evaluation.detection import DetectionEvaluation
from vofp_plugin.evaluation.detection_table import TrialFacts, detection_section
from vofp_plugin.evaluation.plots import plot_det
from vofp_plugin.tasks.detection import OTHER_SPEAKER, OTHER_WORD, TARGET


def made_up(num_speakers=40, each=10):
    """Facts of three kinds of trials, and their scores of word and speaker."""
    kind = np.tile(np.repeat([TARGET, OTHER_WORD, OTHER_SPEAKER], each), num_speakers)
    target = np.repeat(np.arange(num_speakers), 3 * each)
    asked = np.where(kind == OTHER_SPEAKER, (target + 1) % num_speakers, target)
    truth = torch.from_numpy(np.stack([kind != OTHER_WORD, kind != OTHER_SPEAKER], axis=1))
    return TrialFacts(kind, target, asked), 4.0 * (2 * truth.float() - 1) + 2 * torch.randn(
        len(kind), 2
    )


def test_actual_error_of_unseen_trials_is_close_to_the_least_one():
    evaluation = DetectionEvaluation(num_resamples=0)
    facts, scores = made_up()
    decision = evaluation.decide([scores, scores + 0.1], facts)
    facts, scores = made_up()
    rows = evaluation.rows({("own", 1): scores, ("none", 0): scores}, facts, decision)
    (row,) = [
        row
        for row in rows
        if row["enrollment"] == "own" and (row["shots"], row["negatives"]) == (1, "all kinds")
    ]
    assert row["eer"] < 0.05 and row["actual"] == pytest.approx(row["eer"], abs=0.01)


def test_rows_name_enrollment_and_shots():
    evaluation = DetectionEvaluation(num_resamples=10)
    facts, scores = made_up()
    decision = evaluation.decide([scores], facts)
    cells = {(kind, k): scores for kind in ("own", "stranger") for k in (1, 3)}
    made = evaluation.rows({**cells, ("none", 0): scores}, facts, decision)
    assert {(row["enrollment"], row["shots"]) for row in made} == {
        *cells,
        ("own", "all"),
        ("stranger", "all"),
        ("none", 0),
    }
    assert len(made) == 7 * 3, "two kinds of false claims, and all of them"
    curves = evaluation.curves(cells, facts, decision)
    assert list(curves) == [1, 3] and all(0 <= frr <= 1 for _, frr in curves[1])
    rows = [{"condition": "quiet", **row} for row in made]
    text = detection_section({"rule": "target_only", "decision": decision.numbers(), "rows": rows})
    assert text.count("| quiet | own | all |") == 3 and "chosen on validation speakers" in text
    curves = [{"condition": "quiet", "shots": k, "points": x} for k, x in curves.items()]
    assert len(plot_det(curves).axes) == 1 and plot_det([]) is None


def test_who_says_a_word_is_asked_by_the_same_trials_without_its_word():
    rows = [
        {"ID": f"{speaker}{word}{take}", "spk_id": speaker, "command": word}
        for speaker in "abc"
        for word in ("up", "down")
        for take in range(3)
    ]
    both, voice = (DetectionEvaluation(rule=rule) for rule in ("target_only", "same_word"))
    asked = voice.drawn(rows, [1, 2], 1)
    assert asked.trials == both.drawn(rows, [1, 2], 1).trials
    assert voice.words(asked, classes=None) is None, "no model of words is needed"
    scores = torch.where(torch.from_numpy(asked.facts.accepted("same_word")), 1.0, -1.0)
    scores = torch.stack([torch.zeros(len(scores)), scores], dim=1)
    decision = voice.decide([scores], asked.facts)
    row, *others = voice.rows({("own", 1): scores}, asked.facts, decision)
    assert (row["negatives"], row["eer"]) == ("other speaker", 0.0)
    assert {other["negatives"] for other in others} <= {"all kinds"}


@pytest.mark.parametrize(
    "options, message",
    [
        ({"rule": "all"}, "Got rule 'all'; expected one of target_only"),
        ({"num_draws": 0}, "Got num_draws 0 .*expected at least 1"),
        ({"test_enrollments": "a.txt"}, "without test_trials; give the list"),
    ],
)
def test_options_that_cannot_be_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DetectionEvaluation(**options)
