"""Training: from the audio of a corpus to a model that is trained and scored."""

import os
import shutil
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.utils.distributed import if_main_process, run_on_main

from vofp_plugin.dataio.noise import check_noises
from vofp_plugin.dataio.splits import RECORD, check_disjoint, manifest_paths
from vofp_plugin.dataio.utterances import train_dataset
from vofp_plugin.evaluation.conditions import Condition, evaluation_data, utterances_of
from vofp_plugin.evaluation.sweep import mark_chosen, save_sweep
from vofp_plugin.evaluation.trials import make_draws
from vofp_plugin.runs.checkpoints import PARTIAL
from vofp_plugin.runs.detection import ask_trials, decide, validate_claims, write_trials_of
from vofp_plugin.runs.personal_vad import answer_streams, ask_streams
from vofp_plugin.runs.run import check_classes
from vofp_plugin.runs.run_folder import (
    SWEEP_FILE,
    check_content,
    check_new,
    check_settings,
    class_file,
    has_checkpoint,
    listing_digest,
    made_by,
    write_pretrained,
)
from vofp_plugin.runs.scoring import score
from vofp_plugin.runs.start import start_classes, start_main_model
from vofp_plugin.utils.files import whole_file

VALID_DRAWS = 4  # per speaker, after every epoch
SWEEP_DRAWS = 3  # per speaker, at most; gradient steps by all settings take minutes each


def train(run, prepare):
    """Prepares, trains and evaluates.

    Arguments
    ---------
    run : Run
    prepare : callable
        Called with the YAML's `prepare` section; writes the manifests.

    Returns
    -------
    dict
        What `metrics.json` holds.
    """
    folder = Path(run.hparams["output_folder"])
    check_new(folder)
    check_settings(run)
    run_on_main(_check_sounds, [run.hparams])
    run_on_main(_prepare, [prepare, run.hparams["prepare"], folder])
    manifests = _read_manifests(run)
    task = run.hparams["task"]
    classes = start_classes(run.hparams) or _class_list(task.classes(manifests["train"]))
    check_classes(classes, manifests, task)
    check_content(folder, "start_classes", " ".join(map(repr, classes.lab2ind)))
    if run.hparams["noise_folder"] is not None:
        check_content(folder, "noise_folder", listing_digest(run.hparams["noise_folder"]))
    asked = ask_trials(run.hparams, manifests, classes)
    streams = ask_streams(run.hparams, manifests["test"])
    run.begin(classes, folder)
    write_trials_of(asked, folder)
    start_main_model(run.hparams, manifests, classes)
    metrics = {**run.describe(manifests), "settings": made_by(run)}
    draws, conditions = run.test_data(manifests["test"], classes)  # before it takes hours to fail
    brain = run.brain()
    _fit(brain, run.hparams, manifests, classes, asked)
    if run.adapts:
        metrics["sweep"] = _sweep(brain, run.hparams, manifests["valid"], classes)
    decide(brain, run.hparams, asked, manifests["valid"], classes)
    score(brain, run, metrics, draws, conditions, asked, classes)
    metrics |= answer_streams(brain, run.hparams, manifests["test"], streams, folder)
    if if_main_process():
        write_pretrained(brain.checkpointer.find_checkpoint(), folder)
    return metrics


def _prepare(prepare, section, folder):
    """Prepares the data; those of a run that goes on must be what it was trained on.

    They are prepared beside its manifests, which stay as they are.
    """
    old = Path(section["save_folder"])
    if not has_checkpoint(folder) or not old.is_dir():
        prepare(**section)
        return
    with TemporaryDirectory(prefix=PARTIAL, dir=folder) as scratch:
        new = Path(shutil.copytree(old, Path(scratch) / "manifests"))
        prepare(**{**section, "save_folder": str(new)})
        for path in manifest_paths(new).values():
            if path.is_file() and path.read_bytes() != (old / path.name).read_bytes():
                raise ValueError(
                    f"{folder} holds a run on other data: {path.name} of its manifests is not what "
                    "would be prepared now. Give the --data_folder of its run, wherever that lies, "
                    "or another --output_folder."
                )
        if (new / RECORD).is_file():  # of where they lie now
            os.replace(new / RECORD, old / RECORD)


def _check_sounds(hparams):
    """Refuses noises and augmentations that do not fit the front end, before work is done."""
    front_end = hparams["front_end"]
    check_noises(hparams["noise_folder"], front_end.sample_rate, 2 * front_end.num_samples)
    for augmentation in hparams.get("augmentations", []):
        front_end.check_space(augmentation)


def _read_manifests(run):
    """Reads the manifests of all splits, as {split: rows with ID}."""
    annotation = run.hparams["test_annotation"]
    if annotation:
        raise ValueError(
            f"Got --test_annotation={annotation} for a training; add --test_only, with the "
            "--output_folder of a finished one."
        )
    paths = manifest_paths(run.hparams["prepare"]["save_folder"])
    check_disjoint(paths)
    return {split: run.read_manifest(path) for split, path in paths.items()}


def _class_list(names):
    classes = CategoricalEncoder()
    classes.expect_len(None)
    classes.update_from_iterable(names)
    return classes


def _fit(brain, hparams, manifests, classes, asked):
    if if_main_process():
        with whole_file(class_file(hparams)) as partial:
            classes.save(partial)
    train = manifests["train"]
    train_set = train_dataset(train, utterances_of(train, hparams, classes))
    brain.fit_speakers(
        train_set, train, _validation(brain, hparams, manifests["valid"], classes, asked)
    )


def _validation(brain, hparams, valid, classes, asked):
    """What scores validation speakers after every epoch: `fit_speakers`'s `validate`."""
    utterances = utterances_of(valid, hparams, classes)
    condition = Condition(utterances, [utterances])
    if not hparams["task"].classifies:
        return partial(validate_claims, brain, hparams, condition, asked["valid"])
    draws = make_draws(valid, max(hparams["test_shots"]), VALID_DRAWS, hparams["min_queries"])
    return partial(brain.evaluator.validate, condition, draws)


def _sweep(brain, hparams, valid, classes):
    """Scores of all settings of an adapted model on validation speakers, the chosen ones marked."""
    num_draws = min(SWEEP_DRAWS, hparams["test_draws"])
    draws, conditions = evaluation_data(hparams, valid, classes, num_draws)
    brain.on_evaluate_start()
    rows = mark_chosen(
        [
            {"condition": name, **row}
            for name, condition in conditions.items()
            for row in brain.evaluator.sweep(condition, draws)
        ]
    )
    if if_main_process():
        save_sweep(rows, Path(hparams["output_folder"]) / SWEEP_FILE)
    return rows
