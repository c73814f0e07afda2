"""Testing: a trained model scored again, on its own test speakers or on others."""

from pathlib import Path

from speechbrain.utils.logger import get_logger

from vofp_plugin.dataio.manifests import read_manifest, speakers_of
from vofp_plugin.dataio.splits import manifest_paths
from vofp_plugin.evaluation.sweep import load_sweep
from vofp_plugin.runs.detection import ask_trials, write_trials_of
from vofp_plugin.runs.personal_vad import answer_streams, ask_streams
from vofp_plugin.runs.run import check_classes
from vofp_plugin.runs.run_folder import (
    SWEEP_FILE,
    check_annotation,
    check_finished,
    check_settings,
    class_file,
    load_classes,
    settings_of_training,
)
from vofp_plugin.runs.scoring import score

logger = get_logger(__name__)


def test(run):
    """Evaluates the model of a finished training.

    Arguments
    ---------
    run : Run

    Returns
    -------
    dict
        What `metrics.json` holds.
    """
    check_finished(run.hparams, run.system)
    check_settings(run, tested=True)
    paths = manifest_paths(run.hparams["prepare"]["save_folder"])
    manifest = Path(run.hparams["test_annotation"] or paths["test"])
    rows = run.read_manifest(manifest)
    _warn_of_known_speakers(paths, rows)
    classes = load_classes(class_file(run.hparams))
    check_classes(classes, {"test": rows}, run.hparams["task"])
    asked = ask_trials(run.hparams, {"test": rows}, classes)
    streams = ask_streams(run.hparams, rows)
    check_annotation(run.results_folder, manifest)
    run.begin(classes, run.results_folder)
    write_trials_of(asked, run.results_folder)
    metrics = {**run.describe({"test": rows}), "settings": settings_of_training(run)}
    draws, conditions = run.test_data(rows, classes)
    if run.adapts:
        metrics["sweep"] = load_sweep(Path(run.hparams["output_folder"]) / SWEEP_FILE)
    brain = run.brain()
    score(brain, run, metrics, draws, conditions, asked, classes)
    metrics |= answer_streams(brain, run.hparams, rows, streams, run.results_folder)
    return metrics


def _warn_of_known_speakers(paths, rows):
    """Says so if some of the speakers to be asked are no unseen ones."""
    if not (paths["train"].is_file() and paths["valid"].is_file()):
        logger.warning(
            "Found no %s and %s, so this cannot tell whether the speakers to be asked were seen in "
            "training.",
            paths["train"],
            paths["valid"],
        )
        return
    seen = set().union(*(speakers_of(read_manifest(paths[x]).values()) for x in ("train", "valid")))
    asked = speakers_of(rows)
    if seen & asked:
        logger.warning(
            "%d of the %d speakers to be asked were seen in training or validation, such as %s; "
            "what they answer says nothing about unseen speakers.",
            len(seen & asked),
            len(asked),
            min(seen & asked),
        )
