"""Runs of each system joined: seeds averaged within a speaker, folds put side by side."""

import hashlib
import json
from collections import defaultdict
from statistics import fmean
from typing import NamedTuple

import torch

SHARED = "shared"
SHARED_AGAIN = "shared_again"
VOFP = "vofp"
REFERENCES = (VOFP, "vofp_frozen")  # what other personalized systems are compared to


class Cell(NamedTuple):
    """What a system was given while it answered: its enrollment and the acoustic condition."""

    enrollment: str
    shots: int
    condition: str


class PooledSystem:
    """Scores of one system on every speaker.

    Arguments
    ---------
    name : str
    runs : list of dict
        Contents of ``metrics.json`` of this system's runs.

    Example
    -------
    >>> entry = {"enrollment": "shared", "shots": 0, "condition": "quiet", "num_queries": 8}
    >>> runs = [
    ...     {"seed": seed, "calibration": [],
    ...      "per_speaker": [{**entry, "speaker": "anna", "accuracy": accuracy, "nll": 0.5}]}
    ...     for seed, accuracy in enumerate((0.5, 1.0))
    ... ]
    >>> system, cell = PooledSystem("shared", runs), Cell("shared", 0, "quiet")
    >>> system.values(cell, "accuracy", ["anna"])
    tensor([0.7500], dtype=torch.float64)
    >>> system.first_seed_values(cell, "accuracy", ["anna"])
    tensor([0.5000], dtype=torch.float64)
    """

    def __init__(self, name, runs):
        self.name = name
        self.num_runs = len(runs)
        self._entries = defaultdict(lambda: defaultdict(list))
        self.bins = {}
        for run in sorted(runs, key=lambda run: run["seed"]):
            for entry in run["per_speaker"]:
                self._entries[cell_of(entry)][entry["speaker"]].append(entry)
            for entry in run["calibration"]:
                bins = torch.tensor(entry["bins"], dtype=torch.float64)
                self.bins[cell_of(entry)] = self.bins.get(cell_of(entry), 0) + bins

    @property
    def cells(self):
        """All cells that this system was evaluated in."""
        return list(self._entries)

    def speakers(self):
        """Names of all speakers, sorted."""
        return sorted(self._entries[self.cells[0]])

    def values(self, cell, metric, speakers):
        """One value per speaker, the mean over seeds.

        Arguments
        ---------
        cell : Cell
            One of ``cells``.
        metric : str
            "accuracy" (in [0, 1]), "nll" (in nats) or "num_queries".
        speakers : list of str
            The N speakers, in the order of the result.

        Returns
        -------
        torch.Tensor
            Shape (N,).
        """
        entries = self._entries[cell]
        means = [fmean(entry[metric] for entry in entries[speaker]) for speaker in speakers]
        return torch.tensor(means, dtype=torch.float64)

    def first_seed_values(self, cell, metric, speakers):
        """As ``values``, but of the first seed on each fold alone."""
        entries = self._entries[cell]
        first = [entries[speaker][0][metric] for speaker in speakers]
        return torch.tensor(first, dtype=torch.float64)

    def own_shots(self, condition):
        """Numbers of own enrollment utterances K evaluated in a condition, ascending."""
        return sorted(
            cell.shots
            for cell in self.cells
            if cell.enrollment == "own" and cell.condition == condition
        )


def pool_systems(runs):
    """Pool runs by system; "shared_again" is the second seed of "shared" alone.

    Arguments
    ---------
    runs : list of dict
        Contents of ``metrics.json``, any systems, folds and seeds of one recipe.

    Returns
    -------
    dict
        ``{name: PooledSystem}`` in ``system_order``.

    Raises
    ------
    ValueError
        If the runs cannot be compared: no run, several recipes, a run given twice, a fold with
        different test speakers or queries, a speaker tested in two folds, a system that lacks a
        fold or was evaluated in other ways by some of its runs, folds with different numbers of
        seeds of "shared".
    """
    if not runs:
        raise ValueError("got no run, expected at least one to compare")
    groups = defaultdict(list)
    for run in runs:
        groups[run["system"]].append(run)
    _check_comparable(groups)
    seeds = shared_by_seed(runs)
    if len(seeds) > 1:
        groups[SHARED_AGAIN] = seeds[1]
    return {name: PooledSystem(name, groups[name]) for name in sorted(groups, key=system_order)}


def shared_by_seed(runs):
    """Runs of "shared", those of the first seed of every fold before those of the second.

    Arguments
    ---------
    runs : list of dict
        Contents of ``metrics.json``.

    Returns
    -------
    list of list of dict
        One list for each seed, with one run per fold.

    Raises
    ------
    ValueError
        If the folds have different numbers of seeds.
    """
    by_fold = defaultdict(list)
    for run in sorted(runs, key=lambda run: (run["fold"], run["seed"])):
        if run["system"] == SHARED:
            by_fold[run["fold"]].append(run)
    numbers = {fold: len(group) for fold, group in by_fold.items()}
    if len(set(numbers.values())) > 1:
        raise ValueError(
            f"got shared with {numbers} seeds by fold, expected the same number on every fold; "
            "run the missing ones, or leave some out"
        )
    return [list(group) for group in zip(*by_fold.values(), strict=True)]


def system_order(name):
    """Sort key of systems: shared ones, then "vofp" and its variants, then all others by name."""
    return not name.startswith(SHARED), not name.startswith(VOFP), name


def cell_of(entry):
    """Cell of an entry of ``per_speaker`` or ``calibration``."""
    return Cell(entry["enrollment"], entry["shots"], entry["condition"])


def made_like(metrics):
    """System of a run and a digest of the settings that made it, which folds and seeds share.

    Arguments
    ---------
    metrics : dict
        What ``metrics.json`` holds.

    Example
    -------
    >>> made_like({"system": "shared", "settings": {"lr": "0.008"}})
    'shared 1bb1f290'
    """
    text = json.dumps(metrics.get("settings", {}), sort_keys=True)
    return f"{metrics['system']} {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def _check_comparable(groups):
    runs = [run for group in groups.values() for run in group]
    recipes = sorted({run["recipe"] for run in runs})
    if len(recipes) > 1:
        raise ValueError(f"got runs of the recipes {recipes}, expected one; compare them apart")
    folds = {run["fold"] for run in runs}
    if None in folds and len(folds) > 1:
        raise ValueError(
            f"got runs of the folds {sorted(folds - {None})} and of an official split (fold null), "
            "expected one or the other; compare them apart"
        )
    folds = sorted(folds)
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
        _check_settings(name, group)
        _check_cells(name, group)
    _check_starts(runs)
    _check_conditions(runs)
    _check_evaluation(runs)
    _check_speakers(runs)


def _check_settings(name, runs):
    first = runs[0]
    for run in runs:
        keys = {key for key, _ in first["settings"].items() ^ run["settings"].items()}
        if keys:
            key = min(keys)
            raise ValueError(
                f"got runs of {name} with other settings: {', '.join(sorted(keys))}, such as {key} "
                f"{first['settings'].get(key)} and {run['settings'].get(key)} (fold {run['fold']}, "
                f"seed {run['seed']}), expected the same in all; name variants by their own YAML"
            )


def _check_starts(runs):
    """Refuses what starts from runs of a system that were made otherwise than those here."""
    made = {run["system"]: made_like(run) for run in runs}
    for run in runs:
        start = run["settings"].get("start")  # not in those of earlier versions
        if start is not None and made.get(start.split()[0], start) != start:
            raise ValueError(
                f"got runs of {run['system']} that start from a {start.split()[0]} of other "
                "settings than the runs of it here, expected the same; train them anew, or compare "
                "them to the runs that they start from"
            )


def _check_conditions(runs):
    meant = {}
    for run in runs:
        for name, condition in run["conditions"].items():
            if meant.setdefault(name, condition) != condition:
                raise ValueError(
                    f"got the condition {name} as {meant[name]} and as {condition} "
                    f"({run['system']}), expected one meaning; evaluate the systems anew"
                )


def _check_evaluation(runs):
    meant = {}
    for run in runs:
        given = dict(run.get("evaluation", {}))  # not in those of earlier versions
        if all(entry["enrollment"] != "own_sampled" for entry in run["calibration"]):
            given.pop("test_samples", None)  # of nothing here
        for key, value in given.items():
            if meant.setdefault(key, value) != value:
                raise ValueError(
                    f"got runs that were evaluated with {key} {meant[key]} and {value} "
                    f"({run['system']}), expected one; evaluate the systems anew"
                )


def _check_cells(name, runs):
    expected = {cell_of(entry) for entry in runs[0]["per_speaker"]}
    for run in runs:
        differing = {cell_of(entry) for entry in run["per_speaker"]} ^ expected
        if differing:
            raise ValueError(
                f"got runs of {name} with and without {min(differing)} (fold {run['fold']}, seed "
                f"{run['seed']}), expected the same evaluation in all; evaluate them anew"
            )


def _check_speakers(runs):
    fold_of, asked_in = {}, {}
    for run in runs:
        by_cell = defaultdict(dict)
        for entry in run["per_speaker"]:
            by_cell[cell_of(entry)][entry["speaker"]] = entry["num_queries"]
        for cell, asked in by_cell.items():
            expected = asked_in.setdefault(run["fold"], asked)
            differing = {speaker for speaker, _ in asked.items() ^ expected.items()}
            if differing:
                raise ValueError(
                    f"got {run['system']} (seed {run['seed']}, {cell}) with other test speakers or "
                    f"queries of fold {run['fold']}, such as those of {min(differing)}; expected "
                    "the same ones in every run; evaluate all systems on the same manifest, with "
                    "the same test_draws, min_queries and largest K"
                )
        for speaker in asked_in[run["fold"]]:
            if fold_of.setdefault(speaker, run["fold"]) != run["fold"]:
                raise ValueError(
                    f"got speaker {speaker} in the test sets of the folds {fold_of[speaker]} and "
                    f"{run['fold']}, expected one fold; compare runs of the same fold assignment"
                )
