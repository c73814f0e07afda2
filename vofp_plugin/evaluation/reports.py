"""Reports in a folder: one run's metrics and the comparison of many."""

import json
import math
from pathlib import Path

from speechbrain.utils.logger import get_logger

from vofp_plugin.evaluation.comparison import compare
from vofp_plugin.evaluation.plots import (
    Reliability,
    Scatter,
    plot_accuracy,
    plot_reliability,
    plot_speakers,
    plot_training,
    save_figure,
)
from vofp_plugin.evaluation.pooling import SHARED, SHARED_AGAIN, VOFP, Cell, pool_systems
from vofp_plugin.evaluation.tables import comparison_table, headline_table
from vofp_plugin.utils.files import whole_file

logger = get_logger(__name__)

SCHEMA_VERSION = 2
METRICS_KEYS = (
    "recipe",
    "system",
    "fold",
    "seed",
    "settings",
    "conditions",
    "per_speaker",
    "calibration",
)
CALIBRATION_KEYS = ("enrollment", "shots", "condition", "bins")
SPEAKER_KEYS = ("enrollment", "shots", "condition", "speaker", "accuracy", "nll", "num_queries")
RELIABILITY_OF = ("shared", "none", "own", "stranger")  # in a run's reliability diagram
NOTICE = (
    "Results of this project's own formulation of variational on-the-fly personalization: the "
    "equations, data sets and tables of the paper (Kim, Lee, Chang, Kwak, ICML 2022) were not "
    "available to us, and no number here is the paper's."
)


def read_metrics(folder):
    """Read ``metrics.json`` of a run.

    Arguments
    ---------
    folder : str or Path
        Output folder of the run.

    Returns
    -------
    dict

    Raises
    ------
    FileNotFoundError
        If the folder or its ``metrics.json`` is missing.
    ValueError
        If the file is no valid JSON or not metrics of this schema version.
    """
    path = Path(folder) / "metrics.json"
    if not path.parent.is_dir():
        raise FileNotFoundError(f"{folder} is no folder; give the output_folder of a run")
    if not path.is_file():
        raise FileNotFoundError(f"{path} not found; the run has not ended, resume it first")
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"), parse_constant=_refuse_constant)
    except ValueError as error:
        raise ValueError(f"{path} is no valid JSON ({error}); evaluate the run again") from error
    check_metrics(metrics, path)
    return metrics


def check_metrics(metrics, source):
    """Check that metrics hold what reports and comparisons read.

    Arguments
    ---------
    metrics : dict
        Contents of ``metrics.json``.
    source : str or Path
        Where they come from, for the messages.

    Raises
    ------
    ValueError
        If the schema version is another, a key is missing or a score is not a finite number.
    """
    version = metrics.get("schema_version") if isinstance(metrics, dict) else None
    if version != SCHEMA_VERSION:
        raise ValueError(
            f"{source} has schema version {version}, expected {SCHEMA_VERSION}; evaluate the run "
            "again with this version of vofp_plugin"
        )
    _check_keys(metrics, METRICS_KEYS, source)
    for key in ("settings", "conditions"):
        if not isinstance(metrics[key], dict):
            raise ValueError(
                f"{source} has {key} {metrics[key]}, expected {{name: value}}; evaluate the run "
                "again"
            )
    for entry in metrics["calibration"]:
        _check_keys(entry, CALIBRATION_KEYS, f"{source}, calibration")
        if not entry["bins"] or not all(map(_is_bin, entry["bins"])):
            place = f"{entry['enrollment']}, K = {entry['shots']}, {entry['condition']}"
            raise ValueError(
                f"{source} has bins of {place} that are no rows of three numbers; evaluate the run "
                "again"
            )
    if not metrics["per_speaker"]:
        raise ValueError(f"{source} has an empty per_speaker list, expected scores of speakers")
    for entry in metrics["per_speaker"]:
        _check_keys(entry, SPEAKER_KEYS, f"{source}, per_speaker")
        for key in ("accuracy", "nll", "num_queries"):
            if not _is_number(entry[key]):
                raise ValueError(
                    f"{source} has {key} {entry[key]} for speaker {entry['speaker']}, expected a "
                    "finite number; the training may have diverged"
                )
        if not 0 <= entry["accuracy"] <= 1:
            raise ValueError(
                f"{source} has accuracy {entry['accuracy']} for speaker {entry['speaker']}, "
                "expected a share, from 0 to 1"
            )
    speakers = [tuple(entry[key] for key in SPEAKER_KEYS[:4]) for entry in metrics["per_speaker"]]
    if len(set(speakers)) < len(speakers):
        raise ValueError(f"{source} has a speaker twice in one condition, expected once")


def write_report(metrics, folder):
    """Write ``metrics.json``, ``report.md`` and plots of one run.

    Arguments
    ---------
    metrics : dict
        As in ``metrics.json``; numbers that are not finite are written as null.
    folder : str or Path
        Output folder of the run.

    Returns
    -------
    Path
        Of ``report.md``.

    Raises
    ------
    ValueError
        If the metrics are incomplete; nothing is written then.
    """
    check_metrics(metrics, "metrics")
    folder = Path(folder)
    rows = compare([metrics])
    _write_json(folder / "metrics.json", metrics)
    systems = pool_systems([metrics])
    figures = {
        "accuracy": plot_accuracy(rows),
        "speakers": plot_speakers(_scatters(systems, "none")),
        "training": plot_training((metrics.get("training") or {}).get("epochs", [])),
        "reliability": plot_reliability(_reliabilities(systems, RELIABILITY_OF)),
    }
    title = f"{metrics['system']}, fold {metrics['fold']}, seed {metrics['seed']}"
    return _write_page(folder / "report.md", title, _facts(metrics), rows, figures)


def write_comparison(runs, folder):
    """Write ``comparison.json``, ``comparison.md`` and plots of several runs.

    Arguments
    ---------
    runs : list of dict
        Contents of ``metrics.json`` of any systems, folds and seeds of one recipe.
    folder : str or Path

    Returns
    -------
    list of dict
        The rows of ``compare``.

    Raises
    ------
    ValueError
        If the runs cannot be compared; nothing is written then.
    """
    rows = compare(runs)
    folder = Path(folder)
    compared = [{key: run[key] for key in ("system", "fold", "seed")} for run in runs]
    _write_json(
        folder / "comparison.json",
        {
            "schema_version": SCHEMA_VERSION,
            "recipe": runs[0]["recipe"],
            "runs": compared,
            "rows": rows,
        },
    )
    systems = pool_systems(runs)
    figures = {
        "accuracy": plot_accuracy(rows),
        "speakers": plot_speakers(_scatters(systems, "shared")),
        "reliability": plot_reliability(_reliabilities(systems, ("shared", "own"))),
    }
    facts = {"Recipe": runs[0]["recipe"], "Runs": len(runs)}
    facts["Folds"] = ", ".join(str(fold) for fold in sorted({run["fold"] for run in runs}))
    models = {run["system"]: run["model"] for run in runs if "model" in run}
    facts["Parameters"] = ", ".join(
        f"{name} {models[name]['parameters']:,}" for name in sorted(models)
    )
    _warn_of_unequal_models(models)
    _write_page(folder / "comparison.md", "Comparison of systems", facts, rows, figures)
    return rows


def _warn_of_unequal_models(models):
    """Says so where "vofp" is compared to no shared model, or to none of its cost, within 5 %."""
    if SHARED not in models:
        logger.warning("Got no run of shared, which systems are compared to.")
    for name, key in ((SHARED, "multiply_adds_per_query"), ("shared_large", "parameters")):
        if not {name, VOFP} <= models.keys():
            continue
        count, expected = (models[system][key] for system in (name, VOFP))
        if not 0.95 <= count / expected <= 1.05:
            logger.warning(
                "%s has %s %s, vofp %s; expected as many, within 5 %%: another width of %s, by "
                "--channels, would have.",
                *(name, f"{count:,}", key.replace("_", " "), f"{expected:,}", name),
            )


def _refuse_constant(name):
    raise ValueError(f"{name} is no JSON number")


def _check_keys(entry, keys, source):
    missing = [key for key in keys if key not in entry]
    if missing:
        raise ValueError(f"{source} lacks {missing}, expected {list(keys)}; evaluate the run again")


def _is_number(value):
    return isinstance(value, int | float) and math.isfinite(value)


def _is_bin(row):
    return isinstance(row, list) and len(row) == 3 and all(map(_is_number, row))


def _finite(value):
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_json(path, content):
    text = json.dumps(_finite(content), indent=1, allow_nan=False)
    with whole_file(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def _write_page(path, title, facts, rows, figures):
    figures = {name: figure for name, figure in figures.items() if figure is not None}
    for name, figure in figures.items():
        save_figure(figure, path.parent / f"{name}.png")
    parts = [f"# {title}", "\n".join(f"- {name}: {fact}" for name, fact in facts.items())]
    parts += ["## At the largest K", headline_table(rows) + "\n" + NOTICE]
    parts += [f"![{name}]({name}.png)" for name in figures]
    parts += ["## All rows", comparison_table(rows)]
    with whole_file(path) as partial:
        partial.write_text("\n\n".join(parts) + "\n", encoding="utf-8")
    return path


def _facts(metrics):
    facts = {"Recipe": f"{metrics['recipe']} ({metrics.get('yaml', metrics['system'])})"}
    facts["Overrides"] = metrics.get("overrides") or "none"
    for split, counts in (metrics.get("data") or {}).items():
        numbers = (f"{count:,} {unit}" for unit, count in counts.items())
        facts[f"Data, {split}"] = ", ".join(numbers)
    for key, count in (metrics.get("model") or {}).items():
        facts[f"Model, {key.replace('_', ' ')}"] = f"{count:,}"
    training = metrics.get("training") or {}
    if training.get("wall_time_s") is not None:
        facts["Training"] = f"{training.get('steps')} steps, {training['wall_time_s']:.0f} s"
    return facts


def _scatters(systems, baseline):
    """Own at the largest K against "none" of the same system, or against "shared"."""
    scatters = []
    for system in systems.values():
        reference = system if baseline == "none" else systems.get(SHARED)
        for cell in _largest(system, ("own",)):
            reference_cell = Cell(baseline, 0, cell.condition)
            if reference is None or reference_cell not in reference.cells:
                continue
            speakers = system.speakers()
            scatters.append(
                Scatter(
                    system.name,
                    cell.condition,
                    baseline,
                    f"own, K = {cell.shots}",
                    reference.values(reference_cell, "accuracy", speakers),
                    system.values(cell, "accuracy", speakers),
                )
            )
    return scatters


def _reliabilities(systems, enrollments):
    """Bins of each system at the largest K of some enrollments; "shared" has all of its seeds."""
    return [
        Reliability(_label(system, cell), cell.condition, system.bins[cell])
        for system in systems.values()
        for cell in _largest(system, enrollments)
        if system.name != SHARED_AGAIN and cell in system.bins
    ]


def _largest(system, enrollments):
    """Cells of the largest K of each of the enrollments, in each condition."""
    largest = {}
    for cell in sorted(system.cells, key=lambda cell: cell.shots):
        if cell.enrollment in enrollments:
            largest[cell.enrollment, cell.condition] = cell
    return largest.values()


def _label(system, cell):
    if cell.enrollment == "shared":
        return system.name
    return f"{system.name}: {cell.enrollment}" + (f", K = {cell.shots}" if cell.shots else "")
