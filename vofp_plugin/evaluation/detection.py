"""Evaluation of detection: trials, the decision on validation speakers, errors on the test's."""

import numpy as np
import torch
from torch.nn import functional as F

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
from vofp_plugin.tasks.classification import calibration_bins
from vofp_plugin.tasks.det_curve import DetCurve
from vofp_plugin.tasks.detection import RULES, WORD

POINTS = np.geomspace(0.001, 0.5, 50)  # FAR at which a DET curve is kept for its plot


class DetectionEvaluation:
    """Asks a detector lists of trials; the key `detection` of a YAML.

    Arguments
    ---------
    rule : str
        Of `RULES`: which claims are to be accepted.
    also : sequence of str
        Further rules by which the same scores are judged.
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
    >>> DetectionEvaluation(rule="target_only", also=["anybody"]).rules
    ('target_only', 'anybody')
    """

    def __init__(
        self,
        rule="target_only",
        also=(),
        num_draws=4,
        num_resamples=200,
        test_trials=None,
        test_enrollments=None,
    ):
        for name in (rule, *also):
            if name not in RULES:
                raise ValueError(f"Got rule {name!r}; expected one of {', '.join(RULES)}.")
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
        self.rules = (rule, *also)
        self.num_draws = num_draws
        self.num_resamples = num_resamples
        self.test_trials = test_trials
        self.test_enrollments = test_enrollments

    def drawn(self, rows, shots, min_queries):
        """Draws the trials of manifest rows, for the K of `shots`: `TrialSet`."""
        manifest = {row["ID"]: row for row in rows}
        trials, enrollments = self.draw(manifest, shots, self.num_draws, min_queries)
        return TrialSet.of(trials, enrollments, rows, shots)

    def draw(self, manifest, shots, num_draws, min_queries):
        """Draws trials and enrollments, as `keyword_trials` and `speaker_trials`."""
        draw = speaker_trials if self.rule == "verification" else keyword_trials
        return draw(manifest, shots, num_draws, min_queries)

    def words(self, asked, classes):
        """Class of the claimed word of each trial, (M,); None where no rule decides by words."""
        by_words = any(WORD in RULES[rule].scores for rule in self.rules)
        return asked.words(classes) if by_words else None

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
        self.words(asked, classes)
        asked.check_labels(self.rule)
        asked.strangers()
        return asked

    def scores(self, model, condition, asked, shots, classes):
        """Scores of trials, {(enrollment, K): (M, 2)}; see `ClaimScorer.scores`."""
        scorer = ClaimScorer(model, condition, asked, self.words(asked, classes))
        cells = [(kind, k) for kind in ENROLLMENTS if kind != "none" for k in shots]
        cells += [(kind, max(shots)) for kind in condition.bad]
        return {cell: scorer.scores(*cell) for cell in [*cells, ("none", 0)]}

    def decide(self, scores, facts, rule=None):
        """Finds calibration and thresholds, one for all conditions and K.

        Arguments
        ---------
        scores : list of torch.Tensor
            Of the trials of validation speakers, (M, 2) of each condition and K.
        facts : TrialFacts
            Of the M trials.
        rule : str
            One of `rules`; None for the first.

        Returns
        -------
        Decision
        """
        rule = rule or self.rule
        accepted = np.tile(facts.accepted(rule), len(scores))
        weights = np.tile(facts.weights(rule), len(scores))
        together = _asked_scores(torch.cat(scores), rule)
        soft_and = SoftAnd(together.shape[1])
        soft_and.fit(together, torch.from_numpy(accepted), torch.from_numpy(weights))
        curve = DetCurve.of(soft_and(together).numpy(), accepted, weights)
        return Decision(soft_and, curve.equal_error()[1], curve.operating_points())

    def log_odds(self, scores, decision, rule=None):
        """What a decision makes of scores (M, 2): (M,), in nats."""
        return decision(_asked_scores(scores, rule or self.rule))

    def rows(self, scores, facts, decision, rule=None):
        """Rows of one condition: those of `detection_rows`, of each kind of enrollment."""
        rule, rows = rule or self.rule, []
        for enrollment in dict.fromkeys(kind for kind, _ in scores):
            log_odds = {
                shots: self.log_odds(values, decision, rule).numpy()
                for (kind, shots), values in scores.items()
                if kind == enrollment
            }
            made = detection_rows(log_odds, facts, rule, decision.threshold, self.num_resamples)
            kept = [row for row in made if len(log_odds) > 1 or row["shots"] != "all"]
            rows += [{"enrollment": enrollment, **row} for row in kept]
        return rows

    def curves(self, scores, facts, decision, rule=None):
        """DET curves of own enrollment, {K: list of (FAR, FRR)}."""
        rule = rule or self.rule
        accepted, weights = facts.accepted(rule), facts.weights(rule)
        curves = {}
        for (enrollment, shots), values in scores.items():
            if enrollment == "own":
                log_odds = self.log_odds(values, decision, rule).numpy()
                curve = DetCurve.of(log_odds, accepted, weights)
                curves[shots] = [(float(far), curve.frr_at(far)[0]) for far in POINTS]
        return curves

    def speaker_scores(self, scores, asked, decision):
        """How right and how sure the decisions on each target's claims are.

        Arguments
        ---------
        scores : torch.Tensor
            Of all trials for one kind of enrollment and K, (M, 2).
        asked : TrialSet
        decision : Decision
            By the first rule.

        Returns
        -------
        list of dict
            "speaker", "accuracy" in [0, 1] and "nll" in nats, of which true claims and each kind of
            false ones have equal parts, and "num_queries".
        torch.Tensor
            Calibration bins, (15, 3).
        """
        rule, facts = self.rule, asked.facts
        log_odds = self.log_odds(scores, decision) - decision.threshold
        log_probs = F.logsigmoid(torch.stack([-log_odds, log_odds], dim=1).double())
        accepted = torch.from_numpy(facts.accepted(rule))
        right = (log_odds >= 0) == accepted
        nll = -log_probs.gather(1, accepted.long().unsqueeze(1)).squeeze(1)
        weights = facts.weights(rule)
        weights[facts.accepted(rule)] *= len(set(facts.kind[weights > 0].tolist())) - 1
        rows, counts = [], weights > 0
        for name, place in asked.trials_of_speakers().items():
            place = place[counts[place]]
            rows.append(
                {
                    "speaker": name,
                    "accuracy": float(np.average(right[place], weights=weights[place])),
                    "nll": float(np.average(nll[place], weights=weights[place])),
                    "num_queries": len(place),
                }
            )
        return rows, calibration_bins(log_probs[counts], accepted.long()[counts])


def _asked_scores(scores, rule):
    """The scores (M, S) by which a rule decides, of all (M, 2)."""
    return scores[:, list(RULES[rule].scores)]
