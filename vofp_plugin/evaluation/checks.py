"""What the runs of a comparison must share, so that their answers pair."""

import hashlib
import json
from collections import Counter, defaultdict

# {what must be the same: message about two values of it}
MESSAGES = {
    "recipe": "got runs of the recipes {first} and {value}, expected one; compare them apart",
    "split": "got runs of folds and of an official split (fold null), expected one or the other; "
    "compare them apart",
    "settings": "got runs of {key} with other settings: {names}, such as {name} {first} and "
    "{value} (fold {run[fold]}, seed {run[seed]}), expected the same in all; name variants by "
    "their own YAML",
    "start": "got runs of {run[system]} that start from a {key} of other settings than the runs of "
    "it here, expected the same; train them anew, or compare them to those that they start from",
    "condition": "got the condition {key} as {first} and as {value} ({run[system]}), expected one "
    "meaning; evaluate the systems anew",
    "evaluation": "got runs that were evaluated with {key} {first} and {value} ({run[system]}), "
    "expected one; evaluate the systems anew",
    "cells": "got runs of {key} with and without {name} (fold {run[fold]}, seed {run[seed]}), "
    "expected the same enrollments, K and conditions in all; evaluate them anew",
    "scores": "got speakers with and without {name} ({run[system]}, seed {run[seed]}), expected "
    "the same scores in all; evaluate the systems anew",
    "queries": "got {run[system]} (seed {run[seed]}) with other test speakers or queries of fold "
    "{key}, such as those of {name}; expected the same ones in every run; evaluate all systems on "
    "the same manifest, with the same test_draws, min_queries and largest K",
    "fold": "got speaker {key} in the test sets of the folds {first} and {value}, expected one "
    "fold; compare runs of the same fold assignment",
}


def made_like(metrics):
    """System of a run and a digest of the settings that made it, which folds and seeds share.

    Arguments
    ---------
    metrics : dict
        What ``metrics.json`` holds.

    Example
    -------
    >>> made_like({"system": "shared", "settings": {"main_lr": "0.008"}})
    'shared 1bb1f290'
    """
    text = json.dumps(metrics.get("settings", {}), sort_keys=True)
    return f"{metrics['system']} {hashlib.sha256(text.encode()).hexdigest()[:8]}"


def check_comparable(runs):
    """Refuse runs that cannot be compared.

    Arguments
    ---------
    runs : list of dict
        Contents of ``metrics.json``.

    Raises
    ------
    ValueError
        If there is no run, one is there twice, a system lacks a fold, or two runs differ in what
        ``MESSAGES`` lists.
    """
    if not runs:
        raise ValueError("got no run, expected at least one to compare")
    known = {}
    for what, key, value, run in _facts(runs):
        first = known.setdefault((what, key), value)
        if first != value:
            raise ValueError(_disagreement(what, key, first, value, run))
    _check_complete(runs)


def _facts(runs):
    """(what, key, value, run): of one key, all runs must have the same value."""
    systems = {run["system"] for run in runs}
    for run in runs:
        entries, cells = run["per_speaker"], defaultdict(dict)
        for entry in entries:
            cell = entry["enrollment"], entry["shots"], entry["condition"]
            cells[cell][entry["speaker"]] = entry["num_queries"]
        yield "recipe", "", run["recipe"], run
        yield "split", "", run["fold"] is None, run
        yield "settings", run["system"], run["settings"], run
        yield "cells", run["system"], dict.fromkeys(cells, True), run
        yield from (("condition", *fact, run) for fact in run["conditions"].items())
        yield from (("evaluation", *fact, run) for fact in _evaluation(run))
        yield from (("scores", "", dict.fromkeys(entry, True), run) for entry in entries)
        yield from (("queries", run["fold"], asked, run) for asked in cells.values())
        yield from (("fold", entry["speaker"], run["fold"], run) for entry in entries)
    yield from (("start", run["system"], made_like(run), run) for run in runs)
    for run in runs:
        system = run["settings"].get("start", "").partition(" ")[0]
        if system in systems:
            yield "start", system, run["settings"]["start"], run


def _evaluation(run):
    sampled = any(entry["enrollment"] == "own_sampled" for entry in run["calibration"])
    given = run.get("evaluation", {}).items()
    return [(key, value) for key, value in given if sampled or key != "test_samples"]


def _disagreement(what, key, first, value, run):
    words = {"key": key, "first": first, "value": value, "run": run}
    if isinstance(value, dict):
        names = sorted(x for x in first | value if first.get(x) != value.get(x))
        words |= {"names": ", ".join(map(str, names)), "name": names[0]}
        if what == "settings":
            words |= {"first": first.get(names[0]), "value": value.get(names[0])}
    return MESSAGES[what].format(**words)


def _check_complete(runs):
    """Refuse a run that is there twice, and a system that lacks a fold."""
    keys = Counter((run["system"], run["fold"], run["seed"]) for run in runs)
    (system, fold, seed), number = keys.most_common(1)[0]
    if number > 1:
        raise ValueError(
            f"got two runs of {system} with fold {fold} and seed {seed}, expected one; leave one "
            "out, or name variants by their own YAML"
        )
    folds = {run["fold"] for run in runs}
    for system in sorted({run["system"] for run in runs}):
        missing = folds - {run["fold"] for run in runs if run["system"] == system}
        if missing:
            raise ValueError(
                f"got no run of {system} on fold {sorted(missing)}, expected every system on the "
                f"folds {sorted(folds)}; run it, or leave these folds out"
            )
