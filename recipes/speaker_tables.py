"""Records runs of a speaker task on the same trials, and rewrites the table of the recipe's README.

> python recipes/speaker_tables.py recipes/CORPUS/TASK RUN_FOLDER ...

The first run's system is what the others are compared with. Runs of one system on several folds
are pooled, and those of several seeds averaged. `results.json` beside the README keeps the rows.
The table stands between two marks; several K, kinds of claims or enrollments are several tables,
and one may name its systems:

    <!-- results: own 5 all kinds -->
    <!-- end results -->

    <!-- results: own 5 other speaker: two_covariance resemblyzer -->
    <!-- end results -->
"""

import argparse
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np

from vofp_plugin.dataio.manifests import read_manifest
from vofp_plugin.evaluation.detection_table import (
    TrialFacts,
    false_kinds,
    interval,
    resampled_errors,
)
from vofp_plugin.evaluation.reports import read_metrics
from vofp_plugin.evaluation.trial_lists import read_enrollments, read_trials
from vofp_plugin.runs.detection import SCORES_FILE
from vofp_plugin.tasks.det_curve import DetCurve
from vofp_plugin.utils.files import whole_file

RECORD = "results.json"
REGION = re.compile(r"<!-- results: (\w+) (\w+) (.*?) -->\n.*?<!-- end results -->", re.DOTALL)
NUM_RESAMPLES = 500
FRAMES = "frames"  # in place of a kind of claims, where frames are answered


class Answers(NamedTuple):
    """What the runs of a system with one seed answered to the trials of all folds.

    Arguments
    ---------
    facts : TrialFacts
    scores : dict
        {(condition, enrollment, K): scores above the threshold of the fold, (M,)}.
    """

    facts: TrialFacts
    scores: dict

    @classmethod
    def of(cls, folders):
        """Pools folds, whose speakers are others."""
        facts, scores, speakers = [], [], 0
        for folder in folders:
            read, values = _answers(Path(folder))
            facts.append(read._replace(target=read.target + speakers, asked=read.asked + speakers))
            speakers += 1 + max(read.target.max(), read.asked.max())
            scores.append(values)
        cells = [cell for cell in scores[0] if all(cell in fold for fold in scores)]
        pooled = {cell: np.concatenate([fold[cell] for fold in scores]) for cell in cells}
        return cls(TrialFacts(*map(np.concatenate, zip(*facts, strict=True))), pooled)

    def asked(self, condition, enrollment, shots):
        """Facts and scores of K, or of "all" K together."""
        found = [
            values
            for (name, kind, k), values in self.scores.items()
            if (name, kind) == (condition, enrollment) and shots in (k, "all")
        ]
        facts = TrialFacts(*(np.tile(column, len(found)) for column in self.facts))
        return facts, np.concatenate(found)


def _answers(folder):
    """Facts and scores of one run."""
    manifest = read_manifest(folder / "manifests" / "test.csv", "")
    trials = read_trials(folder / "test_trials.txt")
    facts = TrialFacts.of(trials, read_enrollments(folder / "test_enrollments.txt"), manifest)
    threshold = read_metrics(folder)["detection"]["decision"]["threshold"]
    with np.load(folder / SCORES_FILE) as arrays:
        return facts, {tuple(name.split(" ")): arrays[name] - threshold for name in arrays}


def detection_rows(systems, rules):
    """Rows of {system: list of `Answers`, one of each seed}; the first system is the reference.

    Of a system are the kinds of false claims that its rule rejects, by {system: rule}.
    """
    (reference, compared), errors, rows = next(iter(systems.items())), {}, []
    for name, seeds in systems.items():
        for pair in zip(seeds, compared, strict=False):
            if not all(map(np.array_equal, *(answers.facts for answers in pair))):
                raise ValueError(f"Got other trials of {name} than of {reference}; test it anew.")
        errors[name] = _errors_of_cells(seeds, rules[name])
        for cell, mine in errors[name].items():
            theirs = None if name == reference else errors[reference].get(cell)
            place = dict(zip(("condition", "enrollment", "shots", "kind"), cell, strict=True))
            rows.append({"system": name, **place, **_estimates(mine, theirs)})
    return rows


def _errors_of_cells(seeds, rule):
    """{(condition, enrollment, K, kind of false claims): what `_errors` gives}."""
    kinds = false_kinds(seeds[0].facts, rule)
    return {
        (*place, kind): _errors(seeds, place, rule, numbers)
        for place in _cells(seeds[0])
        for kind, numbers in kinds.items()
    }


def _cells(answers):
    """All (condition, enrollment, K), K as text, and all K of own enrollment together."""
    cells = [tuple(map(str, cell)) for cell in answers.scores]
    return cells + [(name, "own", "all") for name in dict.fromkeys(cell[0] for cell in cells)]


def _errors(seeds, place, rule, kinds):
    """Equal error rate, its resampled values and the actual error, each the mean over seeds."""
    found = []
    for answers in seeds:
        facts, scores = answers.asked(*place)
        curve = DetCurve.of(scores, facts.accepted(rule), facts.weights(rule, kinds))
        resampled = resampled_errors(scores, facts, rule, kinds, NUM_RESAMPLES)
        found.append((curve.equal_error()[0], resampled, sum(curve.at(0.0)) / 2))
    return [np.mean(values, axis=0) for values in zip(*found, strict=True)]


def _estimates(mine, theirs):
    (value, resampled, actual), (low, high) = mine, interval(mine[1])
    row = {"value": float(value), "low": low, "high": high, "actual": float(actual)}
    if theirs is not None:
        low, high = interval(resampled - theirs[1])
        row |= {"difference": float(value - theirs[0]), "difference_low": low}
        row["difference_high"] = high
    return row


def frame_rows(systems):
    """Rows of {system: list of metrics}: mean average precision over targets."""
    rows, (reference, compared) = [], next(iter(systems.items()))
    for name, runs in systems.items():
        for cell in runs[0]["personal_vad"]:
            mine, theirs = (_of_targets(of, cell) for of in (runs, compared))
            row = {key: cell[key] for key in ("condition", "enrollment")}
            row |= {"system": name, "shots": str(cell["shots"]), "kind": FRAMES}
            other = None if name == reference else [*_mean_of_resampled(theirs), np.nan]
            made = _estimates([*_mean_of_resampled(mine), np.nan], other)
            rows.append({**row, **made, "actual": None})
    return rows


def _of_targets(runs, cell):
    """Mean average precision of each target of all runs, of the row like `cell`."""
    place = "condition", "enrollment", "shots"
    found = [r for run in runs for r in run["personal_vad"] if all(r[k] == cell[k] for k in place)]
    return np.array([value for row in found for _, value in sorted(row["per_target"].items())])


def _mean_of_resampled(values):
    drawn = np.random.default_rng(0).integers(0, len(values), (NUM_RESAMPLES, len(values)))
    return values.mean(), values[drawn].mean(axis=1)


def record(folders):
    """Everything that tables show of runs: {"rows", "models", "counts"}."""
    metrics = {folder: read_metrics(folder) for folder in folders}
    by_system = {}
    for folder, run in metrics.items():
        by_system.setdefault(run["system"], {}).setdefault(run["seed"], []).append(folder)
    first = {name: metrics[next(iter(seeds.values()))[0]] for name, seeds in by_system.items()}
    if all("personal_vad" in run for run in metrics.values()):
        runs = {
            name: [metrics[f] for fs in by.values() for f in fs] for name, by in by_system.items()
        }
        rows = frame_rows(runs)
    else:
        rules = {name: run["detection"]["rule"] for name, run in first.items()}
        pools = {name: [Answers.of(fs) for fs in by.values()] for name, by in by_system.items()}
        rows = detection_rows(pools, rules)
    models = {
        name: {**run["model"], "steps": run["training"]["steps"]} for name, run in first.items()
    }
    runs = {name: [len(fs) for fs in by.values()] for name, by in by_system.items()}
    return {"rows": rows, "models": models, "folds_of_seeds": runs}


def written(recorded):
    """JSON text with a row in each line."""
    rows = ",\n".join(json.dumps(row) for row in recorded["rows"])
    others = json.dumps({key: value for key, value in recorded.items() if key != "rows"})
    return f'{{"rows": [\n{rows}\n], {others[1:]}\n'


def table(recorded, enrollment, shots, kind, systems=()):
    """Markdown: a system in each row, two columns for the first condition and for the last one."""
    cells = [r for r in recorded["rows"] if (r["shots"], r["kind"]) == (shots, kind)]
    cells = [r for r in cells if r["enrollment"] == enrollment]
    cells = [r for r in cells if r["system"] in (systems or recorded["models"])]
    if not cells:
        raise ValueError(f"Got no rows of {enrollment} {shots} {kind}; record such runs.")
    conditions = list(dict.fromkeys(row["condition"] for row in cells))
    conditions = conditions[:1] + conditions[1:][-1:]
    heads = [text for name in conditions for text in (name.replace("_", " "), "difference")]
    lines = [
        ["system", "parameters (k), multiply-adds (M)", *heads],
        ["---", *["---:"] * (1 + len(heads))],
    ]
    for name in dict.fromkeys(row["system"] for row in cells):
        model = recorded["models"][name]
        price = model["parameters"] / 1e3, model["multiply_adds_per_query"] / 1e6
        mine = {row["condition"]: row for row in cells if row["system"] == name}
        texts = [text for c in conditions for text in _texts(mine.get(c))]
        lines.append([f"`{name}`", "{:.0f}, {:.1f}".format(*price), *texts])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _texts(row):
    if row is None:
        return "", ""
    value = _percent(row["value"], row["low"], row["high"])
    if "difference" not in row:
        return value, ""
    return value, _percent(
        row["difference"], row["difference_low"], row["difference_high"], sign="+"
    )


def _percent(value, low, high, sign=""):
    text = f"{100 * value:{sign}.1f}"
    return text if low is None else f"{text} [{100 * low:.1f}, {100 * high:.1f}]"


def rewrite(text, recorded):
    """README text with every table made anew."""

    def made(match):
        mark = f"<!-- results: {' '.join(match.groups())} -->"
        enrollment, shots, asked = match.groups()
        kind, _, systems = asked.partition(": ")
        lines = table(recorded, enrollment, shots, kind, systems.split())
        return f"{mark}\n{lines}<!-- end results -->"

    return REGION.sub(made, text)


def main(argv=None):
    """Records runs and rewrites the README; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe", type=Path)
    parser.add_argument(
        "runs", nargs="*", metavar="RUN_FOLDER", help="none: rewrite the table alone"
    )
    arguments = parser.parse_args(argv)
    path, page = arguments.recipe / RECORD, arguments.recipe / "README.md"
    if arguments.runs:
        with whole_file(path) as partial:
            partial.write_text(written(record(arguments.runs)), encoding="utf-8")
    recorded = json.loads(path.read_text(encoding="utf-8"))
    text = rewrite(page.read_text(encoding="utf-8"), recorded)
    with whole_file(page) as partial:
        partial.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
