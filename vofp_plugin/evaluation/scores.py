"""Scores of systems, each speaker counted once, and differences paired by speaker."""

from collections import Counter, defaultdict
from typing import NamedTuple

import numpy as np
import pandas as pd

from vofp_plugin.evaluation.checks import check_comparable
from vofp_plugin.evaluation.estimates import MIN_SPEAKERS, bootstrap, harm, sign_flip_test
from vofp_plugin.tasks.classification import expected_calibration_error


class Score(NamedTuple):
    """How a score of a speaker is shown, and which end of it is good."""

    heading: str
    scale: float
    format: str
    higher_is_better: bool


# Of columns in per_speaker; differences and harm of all but the accuracy are named after them.
SCORES = {
    "accuracy": Score("Accuracy (%)", 100, ".1f", True),
    "nll": Score("NLL (nats)", 1, ".3f", False),
    "eer": Score("EER (%)", 100, ".1f", False),
}
CELL = ("enrollment", "shots", "condition")  # what a system was given while it answered
KEYS = ("system", *CELL)
ENROLLMENTS = ("shared", "none", "own", "own_sampled", "stranger")  # in this order, then others
SUBSETS = {"all": "all speakers", "hardest": "hardest fifth of the speakers"}
ESTIMATE = ("value", "ci_low", "ci_high", "p_value")
COUNTS = ("num_speakers", "num_queries", "num_runs")
ROW_KEYS = (*KEYS, "subset", "metric", *ESTIMATE, *COUNTS)


def compare(runs, reference=None):
    """Compare systems on the same queries of the same unseen speakers.

    Metrics of each system, enrollment and K:

    - every score of ``SCORES`` that the runs hold, and ``ece`` on all speakers;
    - ``vs_X``, the accuracy minus that of X, paired by speaker. X is the reference; for own
      enrollment also "stranger" and "none" of the same system and "k1" (its own at K = 1, for the
      largest K); for other enrollments "own". ``nll_vs_X`` and so on are of the other scores;
    - ``error_reduction_vs_X``, relative, where X is the reference;
    - ``harm``, ``harm_nll`` and so on, the shares of speakers more than 0.01 worse than the
      reference, first seed against first seed.

    The reference is the mean of its seeds, with the same enrollment, or none if it is shared. Its
    second seed stands against its first as the system "X_again" (A/A). The last of several seeds
    chooses the subset "hardest", the fifth of the speakers with its lowest accuracy in quiet
    without enrollment, and is therefore left out there, in all systems.

    Arguments
    ---------
    runs : list of dict
        Contents of ``metrics.json``, any systems, folds and seeds of one recipe.
    reference : str or None
        System that the others are compared with; None leaves out what needs one.

    Returns
    -------
    list of dict
        Rows with ``ROW_KEYS``. From ``MIN_SPEAKERS`` speakers on, ``ci_low`` and ``ci_high`` are
        the 95 % interval; below, differences have a ``p_value`` instead.

    Raises
    ------
    ValueError
        If the runs cannot be compared.

    Example
    -------
    >>> def run(system, enrollment, accuracy):
    ...     cell = {"enrollment": enrollment, "shots": 0, "condition": "quiet"}
    ...     anna = {**cell, "speaker": "anna", "accuracy": accuracy, "num_queries": 8}
    ...     return {"recipe": "kws", "system": system, "fold": 0, "seed": 0, "settings": {},
    ...         "conditions": {}, "per_speaker": [anna], "calibration": []}
    >>> rows = compare([run("shared", "shared", 0.5), run("vofp", "none", 0.75)], "shared")
    >>> {row["metric"]: row["value"] for row in rows if row["system"] == "vofp"}
    {'accuracy': 0.75, 'vs_shared': 0.25, 'harm': 0.0, 'error_reduction_vs_shared': 0.5}
    """
    check_comparable(runs)
    rows = _estimates(with_again(runs, reference), reference).assign(subset="all")
    hardest, others = _hardest(runs, reference)
    if hardest:
        other_rows = _estimates(with_again(others, reference), reference, hardest)
        rows = pd.concat([rows, other_rows.assign(subset="hardest")])
    return sorted(records(rows.reindex(columns=ROW_KEYS)), key=place_of)


def again(reference):
    """Name of the system that is the second seed of the reference."""
    return f"{reference}_again"


def with_again(runs, reference):
    """The runs, and those of the reference's second seed once more, as a system of its own."""
    second = [run for seed in seeds_of(runs, reference)[1:2] for run in seed]
    return [*runs, *({**run, "system": again(reference)} for run in second)]


def seeds_of(runs, reference):
    """Runs of the reference, those of the first seed of every fold before those of the second.

    Arguments
    ---------
    runs : list of dict
        Contents of ``metrics.json``.
    reference : str or None

    Returns
    -------
    list of tuple of dict
        One tuple for each seed, with one run per fold; empty without a reference.

    Raises
    ------
    ValueError
        If the reference is missing, or the folds have different numbers of its seeds.
    """
    systems = {run["system"] for run in runs}
    if reference is not None and (reference not in systems or again(reference) in systems):
        raise ValueError(
            f"got the reference {reference}, expected one of the systems {sorted(systems)}, and "
            f"none called {again(reference)}, which its second seed is called"
        )
    by_fold = defaultdict(list)
    for run in sorted(runs, key=lambda run: run["seed"]):
        if run["system"] == reference:
            by_fold[run["fold"]].append(run)
    numbers = {fold: len(group) for fold, group in sorted(by_fold.items())}
    if len(set(numbers.values())) > 1:
        raise ValueError(
            f"got {reference} with {numbers} seeds by fold, expected the same number on every "
            "fold; run the missing ones, leave some out, or name another reference"
        )
    return list(zip(*by_fold.values(), strict=True))


def answers_of(runs):
    """Frame of the ``per_speaker`` rows of runs with their system, in order of the seeds."""
    runs = sorted(runs, key=lambda run: run["seed"])
    return pd.DataFrame({"system": x["system"], **row} for x in runs for row in x["per_speaker"])


def pool(answers):
    """Each speaker's mean over seeds: a frame (speakers, (score or "num_queries", *KEYS))."""
    scores = [name for name in (*SCORES, "num_queries") if name in answers]
    return answers.pivot_table(index="speaker", columns=list(KEYS), values=scores)


def bins_of(runs):
    """{(system, enrollment, shots, condition): calibration bins added over folds and seeds}."""
    bins = {}
    for run in runs:
        for entry in run["calibration"]:
            cell = run["system"], *(entry[key] for key in CELL)
            bins[cell] = bins.get(cell, 0) + np.array(entry["bins"], dtype=float)
    return bins


def pairs_of(cells, reference=None):
    """What the cells are paired with.

    Arguments
    ---------
    cells : iterable of tuple
        (system, enrollment, shots, condition) each.
    reference : str or None

    Returns
    -------
    dict
        {name: {cell: other cell}}, the name "stranger", "none", "k1", "own" or the reference.

    Example
    -------
    >>> cells = [("vofp", "own", 5, "quiet"), ("vofp", "stranger", 5, "quiet")]
    >>> pairs_of(cells)
    {'stranger': {('vofp', 'own', 5, 'quiet'): ('vofp', 'stranger', 5, 'quiet')}}
    """
    cells, pairs = sorted(cells), defaultdict(dict)
    largest = {(system, given, condition): k for system, given, k, condition in cells}
    for cell in cells:
        system, enrollment, shots, condition = cell
        others = {}
        if enrollment == "own":
            others["stranger"] = system, "stranger", shots, condition
            others["none"] = system, "none", 0, condition
            if 1 < shots == largest[system, enrollment, condition]:
                others["k1"] = system, "own", 1, condition
        elif shots and enrollment != "stranger":
            others["own"] = system, "own", shots, condition
        if enrollment != "stranger" and system != reference:
            alike = reference, enrollment, shots, condition
            others[reference] = alike if alike in cells else (reference, "shared", 0, condition)
        for name, other in others.items():
            if other in cells:
                pairs[name][cell] = other
    return dict(pairs)


def hardest_fifth(scores):
    """Fifth of the speakers with the worst scores, hardest first.

    Where errors are rare most speakers have none. Of equal accuracies the higher NLL is harder, and
    of these the earlier name.

    Arguments
    ---------
    scores : pandas.DataFrame
        A row per speaker, a column per score of ``SCORES``.

    Returns
    -------
    list of str
        A fifth of the speakers, rounded down, at least one.

    Example
    -------
    >>> scores = {"accuracy": [0.9, 0.8, 0.7, 0.7], "nll": [0.3, 0.5, 0.9, 0.8]}
    >>> hardest_fifth(pd.DataFrame(scores, index=["d", "a", "c", "b"]))
    ['c']
    """
    by = [name for name in SCORES if name in scores]
    good = [SCORES[name].higher_is_better for name in by]
    ranked = scores.sort_index().sort_values(by, ascending=good, kind="stable")
    return list(ranked.index[: max(1, len(ranked) // 5)])


def place_of(row):
    """Sort key of comparison rows: quiet before other conditions, shared systems before others."""
    enrollment = row["enrollment"]
    section = row["condition"] != "quiet", row["condition"], list(SUBSETS).index(row["subset"])
    place = (*ENROLLMENTS, enrollment).index(enrollment), enrollment, row["shots"]
    return *section, enrollment != "shared", row["system"], *place


def records(rows):
    """Rows of a frame as dicts, with None in place of NaN."""
    return rows.astype(object).where(rows.notna(), None).to_dict("records")


def _hardest(runs, reference):
    """The hardest fifth of the speakers, and the runs that had no part in choosing it.

    Those of its seed had: what starts from the reference starts from that of the same seed.
    """
    seeds = seeds_of(runs, reference)
    chosen = answers_of(seeds[-1] if len(seeds) > 1 else [])
    if len(chosen):
        chosen = chosen[(chosen.shots == 0) & (chosen.condition == "quiet")]
    if not len(chosen):
        return [], []
    choosing = {(run["fold"], run["seed"]) for run in seeds[-1]}
    others = [run for run in runs if (run["fold"], run["seed"]) not in choosing]
    folds = {(run["system"], run["fold"]) for run in others}
    lost = {run["system"] for run in runs if (run["system"], run["fold"]) not in folds}
    others = [run for run in others if run["system"] not in lost]
    return hardest_fifth(chosen.set_index("speaker")), others


def _estimates(runs, reference, speakers=None):
    """Frame of all metrics of all cells, of all speakers or of some."""
    answers = answers_of(runs)
    chosen = slice(None) if speakers is None else speakers
    pooled = pool(answers).loc[chosen]
    first = pool(answers.drop_duplicates([*KEYS, "speaker"])).loc[chosen]
    parts = {}
    for score in pooled.columns.levels[0].intersection(SCORES):
        parts |= _score_estimates(score, pooled[score], first[score], reference)
    if speakers is None:  # bins are not kept by speaker
        errors = {cell: expected_calibration_error(bins) for cell, bins in bins_of(runs).items()}
        parts["ece"] = pd.DataFrame({"value": pd.Series(errors)})
    parts = {metric: part for metric, part in parts.items() if len(part)}
    rows = pd.concat(parts, names=["metric", *KEYS]).reset_index()
    queries = pooled.num_queries.sum().round().astype(int)
    rows["num_speakers"] = len(pooled)
    rows["num_queries"] = queries.loc[pd.MultiIndex.from_frame(rows[list(KEYS)])].to_numpy()
    rows["num_runs"] = rows.system.map(Counter(run["system"] for run in runs))
    return rows


def _score_estimates(score, values, first, reference):
    """{metric: frame of its estimates, indexed by cell} of one score."""
    prefix = "" if score == "accuracy" else f"{score}_"
    parts = {score: bootstrap(values)}
    for name, pairs in pairs_of(values.columns, reference).items():
        cells, others = list(pairs), list(pairs.values())
        second = [cell[0] == again(reference) for cell in cells]
        # Harm is of single seeds: a mean over seeds is less noisy, so it would look less harmful.
        losses = first[others].to_numpy() - first[cells]
        base = np.where(second, first[others], values[others])
        gains = values[cells] - base
        parts[f"{prefix}vs_{name}"] = _with_p_value(bootstrap(gains), gains)
        if name == reference:
            sign = 1 if SCORES[score].higher_is_better else -1
            parts[f"harm_{prefix}".strip("_")] = harm(sign * losses)
        if name == reference and score == "accuracy":
            wrong = (base < 1).any(axis=0)  # else there is no error to reduce
            gains = gains.loc[:, wrong]
            if wrong.any():
                reduction = bootstrap(gains, over=1 - base[:, wrong])
                parts[f"error_reduction_vs_{name}"] = _with_p_value(reduction, gains)
    return parts


def _with_p_value(estimates, differences):
    if len(differences) >= MIN_SPEAKERS:
        return estimates
    return estimates.assign(p_value=sign_flip_test(differences))
