"""Comparison of systems: runs pooled over folds and seeds by speaker, then paired by speaker."""

from collections import defaultdict
from statistics import fmean
from typing import NamedTuple

import torch

from vofp_plugin.utils.metrics import (
    MIN_SPEAKERS,
    bootstrap_mean,
    error_reduction,
    expected_calibration_error,
    hardest_fifth,
    harm,
    sign_flip_test,
)

ROW_KEYS = (
    "system",
    "enrollment",
    "shots",
    "condition",
    "subset",
    "metric",
    "value",
    "ci_low",
    "ci_high",
    "p_value",
    "num_speakers",
    "num_queries",
)
SHARED_AGAIN = "shared_again"


class Cell(NamedTuple):
    """What a system was given while it answered: its enrollment and the acoustic condition."""

    enrollment: str
    shots: int
    condition: str


class PooledSystem:
    """Scores of one system on every speaker: seeds averaged within a speaker, folds joined.

    Arguments
    ---------
    name : str
    runs : list of dict
        Contents of ``metrics.json`` of this system's runs.

    Example
    -------
    >>> entry = {"enrollment": "shared", "shots": 0, "condition": "quiet", "num_queries": 8}
    >>> runs = [
    ...     {"per_speaker": [{**entry, "speaker": "anna", "accuracy": accuracy, "nll": 0.5}],
    ...      "calibration": []}
    ...     for accuracy in (0.5, 1.0)
    ... ]
    >>> PooledSystem("shared", runs).values(Cell("shared", 0, "quiet"), "accuracy", ["anna"])
    tensor([0.7500], dtype=torch.float64)
    """

    def __init__(self, name, runs):
        self.name = name
        validations = [(run.get("validation") or {}).get("accuracy") for run in runs]
        self.validation_accuracy = None if None in validations else fmean(validations)
        entries = defaultdict(list)
        for run in runs:
            for entry in run["per_speaker"]:
                entries[_cell(entry), entry["speaker"]].append(entry)
        self.scores = defaultdict(dict)
        for (cell, speaker), seeds in entries.items():
            self.scores[cell][speaker] = {
                key: fmean(entry[key] for entry in seeds)
                for key in ("accuracy", "nll", "num_queries")
            }
        self.bins = {}
        for entry in (entry for run in runs for entry in run["calibration"]):
            bins = torch.tensor(entry["bins"], dtype=torch.float64)
            self.bins[_cell(entry)] = self.bins.get(_cell(entry), 0) + bins

    def values(self, cell, metric, speakers):
        """One value per speaker, or None if the system was not evaluated that way.

        Arguments
        ---------
        cell : Cell
        metric : str
            "accuracy" (in [0, 1]), "nll" (in nats) or "num_queries".
        speakers : list of str
            The N speakers, in the order of the result.

        Returns
        -------
        torch.Tensor or None
            Shape (N,).
        """
        if cell not in self.scores:
            return None
        scores = [self.scores[cell][speaker][metric] for speaker in speakers]
        return torch.tensor(scores, dtype=torch.float64)

    def own_shots(self, condition):
        """Numbers of own enrollment utterances K evaluated in a condition, ascending."""
        return sorted(
            cell.shots
            for cell in self.scores
            if cell.enrollment == "own" and cell.condition == condition
        )


def pool_systems(runs):
    """Pool runs by system; seeds of "shared" after a fold's first become "shared_again".

    Arguments
    ---------
    runs : list of dict
        Contents of ``metrics.json``, any systems, folds and seeds of one recipe.

    Returns
    -------
    dict
        ``{name: PooledSystem}``, "shared" first.

    Raises
    ------
    ValueError
        If the runs cannot be compared: no run, several recipes, a run given twice, a fold with
        different test speakers, a speaker tested in two folds, a system that lacks a fold.
    """
    if not runs:
        raise ValueError("got no run, expected at least one to compare")
    groups = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run["system"], run["fold"], run["seed"])):
        name = run["system"]
        if name == "shared" and any(run["fold"] == first["fold"] for first in groups["shared"]):
            name = SHARED_AGAIN
        groups[name].append(run)
    _check_comparable(groups)
    first = ("shared", SHARED_AGAIN, "shared_large")
    names = [name for name in first if name in groups] + sorted(set(groups) - set(first))
    return {name: PooledSystem(name, groups[name]) for name in names}


def compare(runs):
    """Compare systems on the same queries of the same unseen speakers.

    Per system, enrollment and K: accuracy, nll (nats) and ece; for own enrollment also the
    differences in accuracy to stranger, none, shared and K = 1 ("own - ..."), the relative error
    reduction against the better shared system on validation speakers ("error_reduction vs ..."),
    and the shares of speakers more than 0.01 worse than shared in accuracy ("harm") and nll
    ("harm_nll"). The subset "hardest" is the fifth of the speakers with the lowest quiet accuracy
    under "shared_again", which is left out of it because it chose them.

    Arguments
    ---------
    runs : list of dict
        Contents of ``metrics.json``, any systems, folds and seeds of one recipe.

    Returns
    -------
    list of dict
        Rows with ``ROW_KEYS``. From ``MIN_SPEAKERS`` speakers on, ``ci_low`` and ``ci_high`` are
        the 95 % interval; below, differences have a ``p_value`` instead.

    Raises
    ------
    ValueError
        If the runs cannot be compared.
    """
    systems = pool_systems(runs)
    rows = []
    for subset, speakers in _subsets(systems).items():
        for system in systems.values():
            if subset == "hardest" and system.name == SHARED_AGAIN:
                continue
            for cell in system.scores:
                estimates = _scores(system, cell, subset, speakers)
                estimates |= _paired(systems, system, cell, speakers)
                where = {"system": system.name, **cell._asdict(), "subset": subset}
                counts = _counts(system, cell, speakers)
                rows += [
                    {**where, "metric": metric, **estimate, **counts}
                    for metric, estimate in estimates.items()
                ]
    return rows


def _cell(entry):
    return Cell(entry["enrollment"], entry["shots"], entry["condition"])


def _check_comparable(groups):
    runs = [run for group in groups.values() for run in group]
    recipes = sorted({run["recipe"] for run in runs})
    if len(recipes) > 1:
        raise ValueError(f"got runs of the recipes {recipes}, expected one; compare them apart")
    folds = sorted({run["fold"] for run in runs})
    for name, group in groups.items():
        keys = [(run["fold"], run["seed"]) for run in group]
        for fold, seed in keys:
            if keys.count((fold, seed)) > 1:
                raise ValueError(
                    f"got two runs of {name} with fold {fold} and seed {seed}, expected one; "
                    "leave one out, or name variants by their own YAML"
                )
        missing = sorted(set(folds) - {fold for fold, _ in keys})
        if missing:
            raise ValueError(
                f"got no run of {name} on fold {missing}, expected every system on the folds "
                f"{folds}; run it, or leave these folds out"
            )
    _check_speakers(runs)


def _check_speakers(runs):
    fold_of, speakers_of = {}, {}
    for run in runs:
        by_cell = defaultdict(set)
        for entry in run["per_speaker"]:
            by_cell[_cell(entry)].add(entry["speaker"])
        for cell, speakers in by_cell.items():
            expected = speakers_of.setdefault(run["fold"], speakers)
            if speakers != expected:
                raise ValueError(
                    f"got {run['system']} (seed {run['seed']}, {cell}) with other test speakers "
                    f"of fold {run['fold']}, such as {min(speakers ^ expected)}; expected the "
                    "same ones in every run; evaluate all systems on the same manifest"
                )
        for speaker in speakers_of[run["fold"]]:
            if fold_of.setdefault(speaker, run["fold"]) != run["fold"]:
                raise ValueError(
                    f"got speaker {speaker} in the test sets of the folds {fold_of[speaker]} and "
                    f"{run['fold']}, expected one fold; compare runs of the same fold assignment"
                )


def _subsets(systems):
    some_system = next(iter(systems.values()))
    subsets = {"all": sorted(next(iter(some_system.scores.values())))}
    quiet = Cell("shared", 0, "quiet")
    if SHARED_AGAIN in systems and quiet in systems[SHARED_AGAIN].scores:
        scores = systems[SHARED_AGAIN].scores[quiet]
        subsets["hardest"] = hardest_fifth({name: scores[name]["accuracy"] for name in scores})
    return subsets


def _counts(system, cell, speakers):
    num_queries = system.values(cell, "num_queries", speakers).sum().item()
    return {"num_speakers": len(speakers), "num_queries": round(num_queries)}


def _estimate(value, ci_low=None, ci_high=None, p_value=None):
    return {"value": value, "ci_low": ci_low, "ci_high": ci_high, "p_value": p_value}


def _scores(system, cell, subset, speakers):
    estimates = {
        metric: _estimate(*bootstrap_mean(system.values(cell, metric, speakers)))
        for metric in ("accuracy", "nll")
    }
    if cell in system.bins and subset == "all":  # bins are not kept by speaker
        estimates["ece"] = _estimate(expected_calibration_error(system.bins[cell]))
    return estimates


def _paired(systems, system, cell, speakers):
    if cell.enrollment == "own":
        return {
            **_differences(systems, system, cell, speakers),
            **_reduction(systems, system, cell, speakers),
            **_harm(systems, system, cell, speakers),
        }
    if system.name == SHARED_AGAIN:
        return _harm(systems, system, cell, speakers)
    return {}


def _differences(systems, system, cell, speakers):
    references = {
        "own - stranger": system.values(cell._replace(enrollment="stranger"), "accuracy", speakers),
        "own - none": system.values(Cell("none", 0, cell.condition), "accuracy", speakers),
        "own - shared": _shared_values(systems, "shared", cell, "accuracy", speakers),
    }
    if cell.shots > 1 and cell.shots == system.own_shots(cell.condition)[-1]:
        references["own - own at K = 1"] = system.values(
            cell._replace(shots=1), "accuracy", speakers
        )
    own = system.values(cell, "accuracy", speakers)
    return {
        metric: _estimate(*bootstrap_mean(own - reference), _p_value(own - reference))
        for metric, reference in references.items()
        if reference is not None
    }


def _reduction(systems, system, cell, speakers):
    name = _better_shared(systems)
    baseline = _shared_values(systems, name, cell, "accuracy", speakers)
    if baseline is None or (baseline == 1).all():  # no error to reduce
        return {}
    own = system.values(cell, "accuracy", speakers)
    estimate = _estimate(*error_reduction(baseline, own), _p_value(own - baseline))
    return {f"error_reduction vs {name}": estimate}


def _harm(systems, system, cell, speakers):
    estimates = {}
    for metric, score, sign in (("harm", "accuracy", 1), ("harm_nll", "nll", -1)):
        baseline = _shared_values(systems, "shared", cell, score, speakers)
        if baseline is not None:
            values = system.values(cell, score, speakers)
            estimates[metric] = _estimate(*harm(sign * baseline, sign * values))
    return estimates


def _shared_values(systems, name, cell, metric, speakers):
    if name not in systems:
        return None
    return systems[name].values(Cell("shared", 0, cell.condition), metric, speakers)


def _better_shared(systems):
    candidates = [systems[name] for name in ("shared", "shared_large") if name in systems]
    if len(candidates) < 2:
        return candidates[0].name if candidates else None
    if any(system.validation_accuracy is None for system in candidates):
        raise ValueError(
            "got runs of shared and shared_large without validation accuracy, expected it to "
            "choose the better one; compare runs that were trained, not only tested"
        )
    return max(candidates, key=lambda system: system.validation_accuracy).name


def _p_value(differences):
    return sign_flip_test(differences) if len(differences) < MIN_SPEAKERS else None
