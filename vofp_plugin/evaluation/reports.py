"""Reports in a folder: one run's metrics and the comparison of many."""

import json
import math
from pathlib import Path

from speechbrain.utils.logger import get_logger

from vofp_plugin.evaluation.detection_table import detection_section
from vofp_plugin.evaluation.personal_vad import personal_vad_section
from vofp_plugin.evaluation.plots import (
    plot_accuracy,
    plot_det,
    plot_reliability,
    plot_speakers,
    plot_training,
    save_figure,
)
from vofp_plugin.evaluation.scores import (
    CELL,
    SCORES,
    again,
    answers_of,
    bins_of,
    compare,
    pairs_of,
    pool,
)
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
CALIBRATION_KEYS = (*CELL, "bins")
SPEAKER_KEYS = (*CELL, "speaker")
COSTS = ("parameters", "multiply_adds_per_query")  # of models that are compared
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
        _check_scores(entry, source)
    speakers = [tuple(entry[key] for key in SPEAKER_KEYS) for entry in metrics["per_speaker"]]
    if len(set(speakers)) < len(speakers):
        raise ValueError(f"{source} has a speaker twice in one condition, expected once")


def write_report(metrics, folder):
    """Write ``metrics.json``, ``report.md`` and plots of one run.

    Arguments
    ---------
    metrics : dict
        As in ``metrics.json``; numbers that are not finite are written as null. Without
        ``results`` its rows are those of ``compare``.
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
    rows = metrics.get("results") or compare([metrics])
    _write_json(folder / "metrics.json", metrics)
    figures = {
        "accuracy": plot_accuracy(rows),
        "speakers": _plot_speakers([metrics], None, "none"),
        "training": plot_training((metrics.get("training") or {}).get("epochs", [])),
        "reliability": _plot_reliability([metrics], ("shared", "none", "own", "stranger")),
    }
    sections = {}
    if metrics.get("detection"):
        figures["det"] = plot_det(metrics["detection"]["curves"])
        sections["Detection"] = detection_section(metrics["detection"])
    for judged in metrics.get("detection_also", []):
        sections[f"Detection, {judged['rule'].replace('_', ' ')}"] = detection_section(judged)
    if metrics.get("personal_vad"):
        sections["Personal VAD"] = personal_vad_section(metrics["personal_vad"])
    title = f"{metrics['system']}, fold {metrics['fold']}, seed {metrics['seed']}"
    return _write_page(folder / "report.md", title, _facts(metrics), rows, figures, sections)


def write_comparison(runs, folder, reference=None):
    """Write ``comparison.json``, ``comparison.md`` and plots of several runs.

    Arguments
    ---------
    runs : list of dict
        Contents of ``metrics.json`` of any systems, folds and seeds of one recipe.
    folder : str or Path
    reference : str or None
        System that the others are compared with.

    Returns
    -------
    list of dict
        The rows of ``compare``.

    Raises
    ------
    ValueError
        If the runs cannot be compared; nothing is written then.
    """
    rows = compare(runs, reference)
    folder = Path(folder)
    content = {
        "schema_version": SCHEMA_VERSION,
        "recipe": runs[0]["recipe"],
        "reference": reference,
        "runs": [{key: run[key] for key in ("system", "fold", "seed")} for run in runs],
        "rows": rows,
    }
    _write_json(folder / "comparison.json", content)
    figures = {
        "accuracy": plot_accuracy([row for row in rows if row["system"] != again(reference)]),
        "speakers": _plot_speakers(runs, reference, reference),
        "reliability": _plot_reliability(runs, ("shared", "own")),
    }
    models = {run["system"]: run["model"] for run in runs if run.get("model")}
    _warn_of_unequal_models(models, reference)
    facts = {"Recipe": runs[0]["recipe"], "Runs": len(runs), "Reference": reference or "none"}
    facts["Folds"] = ", ".join(sorted({str(run["fold"]) for run in runs}))
    for key in COSTS:
        counts = {name: model[key] for name, model in sorted(models.items()) if key in model}
        facts[_in_words(key)] = ", ".join(f"{name} {n:,}" for name, n in counts.items())
    _write_page(folder / "comparison.md", "Comparison of systems", facts, rows, figures)
    return rows


def _warn_of_unequal_models(models, reference):
    """Says which systems differ from the reference by more than 5 % in each of the costs."""
    for name, model in models.items():
        known = [key for key in COSTS if key in model and key in models.get(reference, {})]
        costs = [(key, model[key], models[reference][key]) for key in known]
        if costs and not any(0.95 <= count / expected <= 1.05 for _, count, expected in costs):
            logger.warning(
                "%s, which is compared with %s, has %s; expected as many of one of these, within "
                "5 %%: another width, by --channels, would have.",
                name,
                reference,
                " and ".join(f"{n:,} {_in_words(key)} (not {m:,})" for key, n, m in costs),
            )


def _in_words(key):
    return key.replace("_", " ")


def _refuse_constant(name):
    raise ValueError(f"{name} is no JSON number")


def _check_keys(entry, keys, source):
    missing = [key for key in keys if key not in entry]
    if missing:
        raise ValueError(f"{source} lacks {missing}, expected {list(keys)}; evaluate the run again")


def _check_scores(entry, source):
    """Refuses a row of per_speaker without keys, or with scores that are no finite numbers."""
    _check_keys(entry, (*SPEAKER_KEYS, "num_queries"), f"{source}, per_speaker")
    scores = {key: value for key, value in entry.items() if key not in SPEAKER_KEYS}
    for key, value in scores.items():
        if not _is_number(value):
            raise ValueError(
                f"{source} has {key} {value} for speaker {entry['speaker']}, expected a finite "
                "number; the training may have diverged"
            )
    if not scores.keys() & SCORES.keys():
        raise ValueError(f"{source} has the scores {list(scores)}, expected one of {list(SCORES)}")
    if not 0 <= scores.get("accuracy", 0) <= 1:
        raise ValueError(
            f"{source} has accuracy {scores['accuracy']} for speaker {entry['speaker']}, expected "
            "a share, from 0 to 1"
        )


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


def _write_page(path, title, facts, rows, figures, sections=None):
    figures = {name: figure for name, figure in figures.items() if figure is not None}
    for name, figure in figures.items():
        save_figure(figure, path.parent / f"{name}.png")
    parts = [f"# {title}", "\n".join(f"- {name}: {fact}" for name, fact in facts.items())]
    parts += ["## At the largest K", headline_table(rows) + "\n" + NOTICE]
    parts += [f"## {name}\n\n{text}" for name, text in (sections or {}).items()]
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


def _plot_speakers(runs, reference, name):
    """Own at the largest K against what it is paired with by this name."""
    pooled = pool(answers_of(runs))
    if "accuracy" not in pooled:
        return None
    pairs = pairs_of(pooled["accuracy"], reference).get(name, {})
    return plot_speakers(pooled["accuracy"], _largest(pairs, ("own",)))


def _plot_reliability(runs, enrollments):
    return plot_reliability(_largest(bins_of(runs), enrollments))


def _largest(cells, enrollments):
    """Of {cell: value}, the cells of the largest K of each of some enrollments."""
    largest = {}
    for system, enrollment, shots, condition in cells:
        key = system, enrollment, condition
        largest[key] = max(shots, largest.get(key, 0))
    return {
        cell: value
        for cell, value in cells.items()
        if cell[1] in enrollments and cell[2] == largest[cell[0], cell[1], cell[3]]
    }
