"""Results of detection: error rates by kind of negative and K, with intervals over speakers."""

from typing import NamedTuple

import numpy as np
from scipy.sparse import coo_matrix

from vofp_plugin.evaluation.scores import MIN_SPEAKERS
from vofp_plugin.tasks.det_curve import DetCurve
from vofp_plugin.tasks.detection import KINDS, OTHER_SPEAKER, OTHER_WORD, RULES


class TrialFacts(NamedTuple):
    """What is known of M trials, as columns.

    Arguments
    ---------
    kind : numpy.ndarray
        Index in `KINDS`, (M,).
    target : numpy.ndarray
        Index of the enrolled speaker, (M,).
    asked : numpy.ndarray
        Index of the speaker of the query, (M,); both index the same names.

    Example
    -------
    >>> facts = TrialFacts(np.array([0, 2]), np.array([0, 0]), np.array([0, 1]))
    >>> facts.weights("verification")
    array([1., 1.])
    """

    kind: np.ndarray
    target: np.ndarray
    asked: np.ndarray

    @classmethod
    def of(cls, trials, enrollments, manifest):
        """Looks up the facts of a list of `Trial` that `check_trials` has let pass."""
        speakers = {}

        def number(utterance):
            return speakers.setdefault(manifest[utterance]["spk_id"], len(speakers))

        target = np.array([number(enrollments[trial.enrollment][0]) for trial in trials])
        asked = np.array([number(trial.query) for trial in trials])
        other_word = np.array(
            [t.word is not None and t.word != manifest[t.query]["command"] for t in trials]
        )
        kind = OTHER_SPEAKER * (target != asked) + OTHER_WORD * other_word
        return cls(kind, target, asked)

    def accepted(self, rule):
        """Which trials a detector by this rule of `RULES` is to accept, (M,), bool."""
        return np.isin(self.kind, RULES[rule].accepted)

    def weights(self, rule, kinds=None):
        """How much each trial counts, (M,).

        Every kind of false claim counts alike, and so does every target within a kind.

        Arguments
        ---------
        rule : str
            Of `RULES`.
        kinds : iterable of int
            Kinds of false claims that count; None for all that the rule rejects.
        """
        weights = np.zeros(len(self.kind))
        for kind in {*RULES[rule].accepted, *(kinds or RULES[rule].rejected)}:
            place = self.kind == kind
            counts = np.bincount(self.target[place], minlength=self.target.max() + 1)
            weights[place] = 1 / counts[self.target[place]] / max(1, np.sum(counts > 0))
        return weights


def detection_rows(scores, facts, rule, threshold, num_resamples=500):
    """Makes the rows of a table: each kind of false claim and all, each K and all together.

    Arguments
    ---------
    scores : dict
        {K: scores of the M trials, (M,)}.
    facts : TrialFacts
    rule : str
        Of `RULES`.
    threshold : float
        Chosen on validation speakers, one for all K: at it the actual error is taken.
    num_resamples : int
        Of speakers, for the interval of the equal error rate.

    Returns
    -------
    list of dict
        Rates from 0 to 1: "eer" with "low" and "high" (None below 20 speakers), "frr_at_1" and
        "frr_at_01" (at 1 % and 0.1 % FAR), "min_dcf", and "far", "frr" and "actual", their mean,
        at the threshold; besides "shots", "negatives" and "trials".

    Example
    -------
    >>> facts = TrialFacts(np.array([0, 2, 0, 2]), np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]))
    >>> rows = detection_rows({1: np.array([2.0, 0.0, 3.0, 1.0])}, facts, "verification", 0.5)
    >>> rows[0]["negatives"], rows[0]["eer"], rows[0]["actual"]
    ('other speaker', 0.0, 0.25)
    """
    together = {**scores, "all": np.concatenate(list(scores.values()))}
    repeated = TrialFacts(*(np.tile(column, len(scores)) for column in facts))
    rows = []
    for name, kinds in false_kinds(facts, rule).items():
        for shots, values in together.items():
            asked = repeated if shots == "all" else facts
            row = _row(values, asked, rule, kinds, threshold, num_resamples)
            rows.append({"shots": shots, "negatives": name, **row})
    return rows


def false_kinds(facts, rule):
    """The kinds of false claims among trials: each, and all together where there are several.

    Example
    -------
    >>> false_kinds(TrialFacts(np.array([0, 1, 2]), np.zeros(3), np.zeros(3)), "target_only")
    {'other word': [1], 'other speaker': [2], 'all kinds': [1, 2]}
    """
    present = [kind for kind in RULES[rule].rejected if (facts.kind == kind).any()]
    kinds = {KINDS[kind]: [kind] for kind in present}
    return {**kinds, "all kinds": present} if len(present) > 1 else kinds


COLUMNS = {  # of the table of a report
    "frr_at_1": "FRR at 1 % FAR",
    "frr_at_01": "FRR at 0.1 % FAR",
    "actual": "Actual error",
    "far": "its FAR",
    "frr": "its FRR",
}


def detection_section(detection):
    """Markdown of the rows of a run's detection, in percent; minDCF is a cost.

    Arguments
    ---------
    detection : dict
        "rule", "decision" and "rows", those of `detection_rows` with `condition` and `enrollment`.

    Returns
    -------
    str
    """
    head = ["Condition", "Enrollment", "K", "False claims", "EER", *COLUMNS.values(), "minDCF"]
    lines = [head, ["---"] * 4 + ["---:"] * (len(head) - 4)]
    lines += [_cells(row) for row in detection["rows"]]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return (
        f"Rule: {detection['rule']}. In percent; in brackets the 95 % interval over speakers, who "
        "are resampled as targets and as impostors. Every kind of false claim counts alike, and "
        "every target within it. The actual error is the mean of both errors at the threshold "
        f"{detection['decision']['threshold']:.3f}, chosen on validation speakers for all K. "
        "Stranger: another speaker's enrollment in place of the target's. None: words alone, the "
        "speaker's score is 0 and rejects nobody. Noise, two_speakers: a bad enrollment of which "
        f"nothing is refused.\n\n{table}"
    )


def _cells(row):
    eer = f"{100 * row['eer']:.2f}"
    if row["low"] is not None:
        eer = f"{eer} [{100 * row['low']:.2f}, {100 * row['high']:.2f}]"
    rates = [f"{100 * row[key]:.2f}" for key in COLUMNS]
    place = [row["condition"], row["enrollment"], str(row["shots"]), row["negatives"]]
    return [*place, eer, *rates, f"{row['min_dcf']:.4f}"]


def _row(scores, facts, rule, kinds, threshold, num_resamples):
    weights, accepted = facts.weights(rule, kinds), facts.accepted(rule)
    curve = DetCurve.of(scores, accepted, weights)
    far, frr = curve.at(threshold)
    low, high = interval(resampled_errors(scores, facts, rule, kinds, num_resamples))
    return {
        "trials": int(np.sum(weights > 0)),
        "eer": curve.equal_error()[0],
        "low": low,
        "high": high,
        "frr_at_1": curve.frr_at(0.01)[0],
        "frr_at_01": curve.frr_at(0.001)[0],
        "min_dcf": curve.min_dcf()[0],
        "far": far,
        "frr": frr,
        "actual": (far + frr) / 2,
    }


def resampled_errors(scores, facts, rule, kinds=None, num_resamples=500, seed=0):
    """Equal error rates of resampled speakers, who count as targets and as impostors alike.

    Two systems on the same trials are resampled alike, so differences are paired. Errors are those
    at one of 2,000 thresholds, so they differ from exact ones by at most one part in as many.

    Arguments
    ---------
    scores : numpy.ndarray
        (M,).
    facts : TrialFacts
    rule : str
        Of `RULES`.
    kinds : iterable of int
        Kinds of false claims that count; None for all that the rule rejects.
    num_resamples : int
    seed : int

    Returns
    -------
    numpy.ndarray
        (num_resamples,), or (0,) where fewer than 20 speakers are targets.
    """
    if num_resamples == 0 or len(np.unique(facts.target)) < MIN_SPEAKERS:
        return np.zeros(0)
    weights, accepted = facts.weights(rule, kinds), facts.accepted(rule)
    num_speakers = max(facts.target.max(), facts.asked.max()) + 1
    times = _times_drawn(num_speakers, num_resamples, seed)
    bins, pairs = _bins(scores, weights), facts.target * num_speakers + facts.asked
    frr = _shares_below(bins, pairs, np.where(accepted, weights, 0), times)
    far = 1 - _shares_below(bins, pairs, np.where(accepted, 0, weights), times)
    place = np.abs(far - frr).argmin(axis=1)
    return (far + frr)[np.arange(num_resamples), place] / 2


def _times_drawn(num_speakers, num_resamples, seed):
    """How often each speaker is drawn in each resample, (R, S)."""
    drawn = np.random.default_rng(seed).integers(0, num_speakers, (num_resamples, num_speakers))
    return np.stack([np.bincount(row, minlength=num_speakers) for row in drawn])


def _bins(scores, weights, most=2000):
    """Index of each score among at most so many thresholds, equal shares of what counts apart."""
    asked = np.unique(scores[weights > 0])
    step = -(-len(asked) // most)
    return np.searchsorted(asked[::step], scores, side="right")


def _shares_below(bins, pairs, weights, times):
    """Share of the resampled weight in lower bins than each, (R, bins + 1).

    `pairs` (M,) are target * S + asked of S speakers. A speaker's own utterances are drawn with
    the speaker, others' as often as both are.
    """
    num_speakers = times.shape[1]
    counted = weights > 0
    pairs, place = np.unique(pairs[counted], return_inverse=True)
    shape = len(pairs), bins.max() + 1
    histograms = coo_matrix((weights[counted], (place, bins[counted])), shape).tocsr()
    target, asked = pairs // num_speakers, pairs % num_speakers
    drawn = times[:, target] * np.where(target != asked, times[:, asked], 1)
    total = np.cumsum((histograms.T @ drawn.T).T, axis=1)
    below = np.pad(total, ((0, 0), (1, 0)))
    return below / np.maximum(total[:, -1:], np.finfo(float).tiny)


def interval(resampled, level=0.95):
    """Percentile interval of resampled values; (None, None) where there is none.

    Example
    -------
    >>> interval(np.arange(41.0)), interval(np.zeros(0))
    ((1.0, 39.0), (None, None))
    """
    if not len(resampled):
        return None, None
    low, high = np.quantile(resampled, [(1 - level) / 2, (1 + level) / 2])
    return float(low.round(9)), float(high.round(9))
