"""Evaluation of detection: trials, the decision on validation speakers, errors on the test's."""

import numpy as np
import torch

from vofp_plugin.evaluation.claims import ENROLLMENTS, ClaimScorer
from vofp_plugin.evaluation.detection_table import detection_rows
from vofp_plugin.evaluation.trial_lists import (
    keyword_trials,
    read_enrollments,
    read_trials,
    single_enrollments,
    speaker_trials,
)
from vofp_plugin.evaluation.trial_set import TrialSet
from vofp_plugin.lobes.decision import Decision
from vofp_plugin.lobes.soft_and import SoftAnd
from vofp_plugin.tasks.det_curve import DetCurve
from vofp_plugin.tasks.detection import RULES

POINTS = np.geomspace(0.001, 0.5, 50)  # FAR at which a DET curve is kept for its plot


class DetectionEvaluation:
    """Asks a detector lists of trials; the key `detection` of a YAML.

    Arguments
    ---------
    rule : str
        Of `RULES`: which claims are to be accepted. All rules but "verification" ask for words.
    num_draws : int
        Enrollments of each speaker, where trials are drawn.
    num_resamples : int
        Of speakers, for the intervals.
    test_trials : str or Path
        List of the test trials, "label enroll test" and the claimed word; None draws them.
    test_enrollments : str or Path
        Of which utterances each enrollment of that list is made; None if each is the utterance of
        its name.

    Raises
    ------
    ValueError
        If there is no such rule, or a number is none that can be.

    Example
    -------
    >>> DetectionEvaluation(rule="verification").asks_words
    False
    """

    def __init__(
        self,
        rule="target_only",
        num_draws=4,
        num_resamples=200,
        test_trials=None,
        test_enrollments=None,
    ):
        if rule not in RULES:
            raise ValueError(f"Got rule {rule!r}; expected one of {', '.join(RULES)}.")
        if num_draws < 1 or num_resamples < 0:
            raise ValueError(
                f"Got num_draws {num_draws} and num_resamples {num_resamples}; expected at least "
                "1 and 0."
            )
        if test_enrollments is not None and test_trials is None:
            raise ValueError(
                f"Got test_enrollments {test_enrollments} without test_trials; give the list of "
                "trials too."
            )
        self.rule = rule
        self.num_draws = num_draws
        self.num_resamples = num_resamples
        self.test_trials = test_trials
        self.test_enrollments = test_enrollments

    @property
    def asks_words(self):
        """Whether a claim is of a word besides a speaker."""
        return self.rule != "verification"

    def drawn(self, rows, shots, min_queries):
        """Draws the trials of manifest rows, for the K of `shots`: `TrialSet`."""
        manifest = {row["ID"]: row for row in rows}
        draw = keyword_trials if self.asks_words else speaker_trials
        trials, enrollments = draw(manifest, shots, self.num_draws, min_queries)
        return TrialSet.of(trials, enrollments, rows, shots)

    def asked(self, rows, shots, min_queries, classes):
        """The test's trials: the given list, checked before anything is computed, or drawn ones.

        Arguments
        ---------
        rows : list of dict
            Of the test manifest.
        shots : list of int
        min_queries : int
        classes : CategoricalEncoder

        Returns
        -------
        TrialSet
        """
        if self.test_trials is None:
            return self.drawn(rows, shots, min_queries)
        trials = read_trials(self.test_trials)
        enrollments = single_enrollments(trials)
        if self.test_enrollments is not None:
            enrollments = read_enrollments(self.test_enrollments)
        asked = TrialSet.of(trials, enrollments, rows, shots)
        if self.asks_words:
            asked.words(classes)
        asked.check_labels(self.rule)
        asked.strangers()
        return asked

    def scores(self, model, condition, asked, shots, classes):
        """Scores of trials, {(enrollment, K): (M, S)}; see `ClaimScorer.scores`."""
        words = asked.words(classes) if self.asks_words else None
        scorer = ClaimScorer(model, condition, asked, words)
        cells = [(kind, k) for kind in ENROLLMENTS if kind != "none" for k in shots]
        cells += [(kind, max(shots)) for kind in condition.bad]
        return {cell: scorer.scores(*cell) for cell in [*cells, ("none", 0)]}

    def decide(self, scores, facts):
        """Finds calibration and threshold, one for all conditions and K.

        Arguments
        ---------
        scores : list of torch.Tensor
            Of the trials of validation speakers, (M, S) of each condition and K.
        facts : TrialFacts
            Of the M trials.

        Returns
        -------
        Decision
        """
        accepted = np.tile(facts.accepted(self.rule), len(scores))
        weights = np.tile(facts.weights(self.rule), len(scores))
        together = torch.cat(scores)
        soft_and = SoftAnd(together.shape[1])
        soft_and.fit(together, torch.from_numpy(accepted), torch.from_numpy(weights))
        curve = DetCurve.of(soft_and(together).numpy(), accepted, weights)
        return Decision(soft_and, curve.equal_error()[1])

    def rows(self, scores, facts, decision):
        """Rows of one condition: those of `detection_rows`, of each kind of enrollment."""
        rows = []
        for enrollment in dict.fromkeys(kind for kind, _ in scores):
            log_odds = {
                shots: decision(values).numpy()
                for (kind, shots), values in scores.items()
                if kind == enrollment
            }
            made = detection_rows(
                log_odds, facts, self.rule, decision.threshold, self.num_resamples
            )
            kept = [row for row in made if len(log_odds) > 1 or row["shots"] != "all"]
            rows += [{"enrollment": enrollment, **row} for row in kept]
        return rows

    def curves(self, scores, facts, decision):
        """DET curves of own enrollment, {K: list of (FAR, FRR)}."""
        accepted, weights = facts.accepted(self.rule), facts.weights(self.rule)
        curves = {}
        for (enrollment, shots), values in scores.items():
            if enrollment == "own":
                curve = DetCurve.of(decision(values).numpy(), accepted, weights)
                curves[shots] = [(float(far), curve.frr_at(far)[0]) for far in POINTS]
        return curves
