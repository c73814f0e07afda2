"""Trials of personal keywords: who said what is asked, and what is decided without any take."""

import numpy as np
import pytest
import torch

from vofp_plugin.evaluation.keyword_trials import KeywordEvaluation, word_trials
from vofp_plugin.evaluation.trial_set import TrialSet
from vofp_plugin.tasks.detection import KINDS


def manifest(speakers="abc", words="uvw", takes=3):
    return {
        f"{speaker}{word}{take}": {
            "ID": f"{speaker}{word}{take}",
            "spk_id": speaker,
            "command": word,
        }
        for speaker in speakers
        for word in words
        for take in range(takes)
    }


def test_every_kind_of_claim_is_asked_and_no_take_that_enrolls():
    rows = manifest()
    trials, enrollments = word_trials(rows, [1, 2], num_draws=2)
    assert len(enrollments) == 18 and all(len(names) == 2 for names in enrollments.values())
    asked = TrialSet.of(trials, enrollments, list(rows.values()), [1, 2])
    counts = {KINDS[kind]: int((asked.facts.kind == kind).sum()) for kind in range(4)}
    assert counts == {
        "target": 18,
        "other word": 18 * 6,
        "other speaker": 18 * 6,
        "other speaker and word": 18 * 12,
    }
    for trial in trials:
        speaker, word = trial.enrollment.split("_")[:2]
        assert trial.accepted == (trial.query[:2] == speaker + word)
        assert trial.query not in enrollments[trial.enrollment]


def test_draws_enroll_other_takes_and_are_repeated():
    first, second = (word_trials(manifest(takes=5), [2], num_draws=3) for _ in range(2))
    assert first == second
    takes = [tuple(first[1][f"a_u_{draw}"]) for draw in range(3)]
    assert len(set(takes)) > 1


def test_words_with_few_takes_are_asked_alone():
    rows = manifest("ab", "uv", takes=3)
    del rows["au0"], rows["au1"]
    trials, enrollments = word_trials(rows, [2], num_draws=1)
    assert list(enrollments) == ["a_v_0", "b_u_0", "b_v_0"]
    assert any(trial.query == "au2" for trial in trials)


@pytest.mark.parametrize(
    "speakers, words, takes", [("a", "uv", 3), ("ab", "u", 3), ("ab", "uv", 2)]
)
def test_too_little_is_refused(speakers, words, takes):
    with pytest.raises(ValueError, match="Lower the largest K, or use more data"):
        word_trials(manifest(speakers, words, takes), [2])


def test_both_rules_are_decided_from_their_scores():
    rows = manifest(takes=4)
    trials, enrollments = word_trials(rows, [3], num_draws=1)
    asked = TrialSet.of(trials, enrollments, list(rows.values()), [3])
    word = torch.from_numpy(asked.facts.kind % 2 == 0)
    voice = torch.from_numpy(asked.facts.kind < 2)
    scores = 8 * torch.stack([word, voice], dim=1).float() - 4 + 0.1 * torch.randn(len(word), 2)
    evaluation = KeywordEvaluation(num_resamples=0)
    for rule in evaluation.rules:
        decision = evaluation.decide([scores], asked.facts, rule)
        made = evaluation.rows({("own", 3): scores}, asked.facts, decision, rule)
        assert all(row["eer"] == 0 for row in made)
        negatives = {row["negatives"] for row in made}
        assert ("other speaker" in negatives) == (rule == "target_only")
    told, _ = evaluation.speaker_scores(scores, asked, evaluation.decide([scores], asked.facts))
    assert [row["speaker"] for row in told] == list("abc")
    assert np.allclose([row["accuracy"] for row in told], 1)
