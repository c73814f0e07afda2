"""Run folder: which settings made the run in it, and what it leaves for inference."""

import hashlib
import json
import os
from pathlib import Path

from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.utils.distributed import if_main_process

from vofp_plugin.evaluation.checks import made_like
from vofp_plugin.inference.interfaces import DECISIONS
from vofp_plugin.runs.configuration import TRAINING_OPTIONS, pretrained_yaml, settings, values_of
from vofp_plugin.runs.paths import SOURCES
from vofp_plugin.utils.files import whole_file

CLASS_FILE = "classes.txt"
SWEEP_FILE = "sweep.json"
CONTENTS_FILE = "contents.json"  # digests of what the paths among the settings held
FOLDERS = ("save", "manifests", "pretrained")  # of every run
# Settings that may differ when a run is started again: they change nothing in its training.
KEPT = ("output_folder", "cache_folder", "num_classes", "skip_prep")  # read by other sections too
MAY_CHANGE = ("test_draws", "test_samples", "bad_enrollments", "conditions")
# And what may differ when it is tested again: data and K.
TRIALS = ("test_trials", "test_enrollments")
TEST_KEYS = (*SOURCES, *TRIALS, "test_annotation", "test_shots", "min_queries")
# What differs between runs of one system on one corpus, by which they are no other system.
RUN_KEYS = ("seed", "fold", "test_annotation", *TRIALS, *SOURCES, *KEPT)


def check_new(folder):
    """Refuses an output folder with results whose checkpoints are gone.

    A new training in it would look finished before it is.
    """
    if (Path(folder) / "metrics.json").is_file() and not has_checkpoint(folder):
        raise ValueError(
            f"{folder} holds the results of a training, but no checkpoint of it. Give another "
            "--output_folder, or delete that folder to train anew."
        )


def check_settings(run, tested=False):
    """Refuses an output folder with checkpoints that other settings made.

    Their numbers would be reported as those of these settings. A test may change what is asked,
    but not the model. Where the sources lie is no setting; `check_content` sees to what they hold.

    Arguments
    ---------
    run : Run
    tested : bool
        Whether the model in the folder is tested, not trained on.
    """
    folder = run.hparams["output_folder"]
    before = Path(folder) / "hyperparams.yaml"
    if not before.is_file() or not has_checkpoint(folder):
        return
    text = before.read_text(encoding="utf-8")
    # What may differ is also read by other sections: there too, it is as it was.
    may_differ = {*KEPT, *(TEST_KEYS if tested else ())}
    given = {key for key in SOURCES if run.hparams.get(key) is not None}
    kept = {
        key: value
        for key, value in values_of(text).items()
        if key in may_differ or (key in given and value is not None)
    }
    old, new = settings(text), settings(run.settings(**kept))
    changed = _changed(old, new, may_differ | {*MAY_CHANGE})
    if changed:
        raise ValueError(
            f"{folder} holds a run with other settings: "
            + ", ".join(f"{key} {_differing(*values)}" for key, values in changed.items())
            + ". Give another --output_folder, or the settings of its run."
        )


def check_content(folder, source, digest):
    """Refuses to go on with another content of a source, wherever it lies, than there was.

    Arguments
    ---------
    folder : str or Path
        Output folder; of a run that has no checkpoint yet, the content is recorded there.
    source : str
        Key of the setting.
    digest : str
        Of what it holds now.
    """
    before = contents(folder)
    if has_checkpoint(folder):
        if before.get(source, digest) != digest:
            raise ValueError(
                f"{folder} holds a run whose {source} held something else than it does now. Give "
                f"the {source} of its run, wherever that lies, or another --output_folder."
            )
    elif if_main_process():
        with whole_file(Path(folder) / CONTENTS_FILE) as partial:
            partial.write_text(json.dumps({**before, source: digest}, indent=2), encoding="utf-8")


def contents(folder):
    """{source: digest} that `check_content` recorded in a folder; empty if nothing."""
    path = Path(folder) / CONTENTS_FILE
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}


def listing_digest(folder):
    """Digest of the names and sizes of all files in a folder, hidden ones apart.

    Example
    -------
    >>> folder = getfixture("tmp_path")
    >>> _ = (folder / "a.wav").write_bytes(b"1")
    >>> listing_digest(folder) == listing_digest(f"{folder}/../{folder.name}/")
    True
    """
    sizes = {
        path.relative_to(folder): path.stat().st_size
        for path in Path(folder).rglob("*")
        if path.is_file()
    }
    shown = {file: size for file, size in sizes.items() if not str(file).startswith(".")}
    files = sorted((file.as_posix(), size) for file, size in shown.items())
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()


def _changed(old, new, may_differ):
    """{key: (old, new)} of the settings that differ; of objects, where no plain value does."""
    # A YAML of another version may have more keys or fewer; a run option that is not there is off.
    defaults = dict.fromkeys(TRAINING_OPTIONS, "default")
    old, new = {**defaults, **old}, {**defaults, **new}
    known = (old.keys() & new.keys()) - may_differ
    changed = {key: (old[key], new[key]) for key in new if key in known and old[key] != new[key]}
    plain = {key: values for key, values in changed.items() if not values[0].startswith("!")}
    return plain or changed


def made_by(run):
    """{key: value or section} by which the model was made, the same for all folds and seeds."""
    alike = {key: 0 for key in RUN_KEYS if key in run.hparams}
    made = settings(run.settings(**alike))
    made = {key: made[key] for key in sorted(made.keys() - {*RUN_KEYS, *MAY_CHANGE})}
    start = run.hparams.get("start_folder")
    if start is not None and (Path(start) / "metrics.json").is_file():
        made["start"] = made_like(_metrics_of_training(start))
    elif run.hparams.get("start_checkpoint") is not None:
        made["start"] = contents(run.hparams["output_folder"]).get("start_checkpoint")
    return made


def settings_of_training(run):
    """As `made_by`, but of the finished training in the output folder."""
    # Metrics of earlier versions do not tell.
    return _metrics_of_training(run.hparams["output_folder"]).get("settings") or made_by(run)


def annotation_folder(hparams):
    """Folder for the results of a test: within that of the run, named after its manifest."""
    annotation = hparams["test_annotation"]
    folder = Path(hparams["output_folder"]) / Path(annotation or "test").stem
    if folder.name in FOLDERS:
        raise ValueError(
            f"Got --test_annotation={annotation}, by whose name the results would go to {folder}, "
            "which holds other things of the run; give the file another name."
        )
    return folder


def check_annotation(folder, manifest):
    """Refuses to replace the results of another manifest, and records this one.

    It is the same if it lies at the same place or holds the same.

    Arguments
    ---------
    folder : Path
        Of the results.
    manifest : Path
    """
    place, before = str(manifest.resolve()), contents(folder)
    digest = hashlib.sha256(manifest.read_bytes()).hexdigest()
    if before and place not in before and digest not in before.values():
        raise ValueError(
            f"{folder} holds the results of another manifest, {', '.join(before)} (now {place}), "
            "which these would replace; give one of the two another name."
        )
    if if_main_process():
        with whole_file(folder / CONTENTS_FILE) as partial:
            partial.write_text(json.dumps({place: digest}, indent=2), encoding="utf-8")


def check_finished(hparams, system):
    """Refuses to test what is no finished training by the YAML of that system."""
    folder = Path(hparams["output_folder"])
    for file in (class_file(hparams), folder / "metrics.json"):
        if not file.is_file():
            raise FileNotFoundError(
                f"Found no {file}; --test_only needs the --output_folder of a finished training."
            )
    trained = _metrics_of_training(folder).get("system")
    if trained != system:
        raise ValueError(
            f"{folder} was trained by {trained}.yaml; expected the same YAML to test it, not "
            f"{system}.yaml."
        )


def _metrics_of_training(folder):
    path = Path(folder) / "metrics.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is no valid JSON ({error}); start the training again, which makes it anew."
        ) from error


def has_checkpoint(folder):
    """Whether a run folder holds a checkpoint, be it whole or damaged."""
    return any(Path(folder).glob("*/CKPT*"))


def class_file(hparams):
    """Path of the class list in the output folder."""
    return Path(hparams["output_folder"]) / CLASS_FILE


def load_classes(path):
    """Reads a class list."""
    encoder = CategoricalEncoder()
    encoder.expect_len(None)
    try:
        encoder.load(path)
    except (KeyError, ValueError, SyntaxError) as error:
        raise ValueError(
            f"Cannot read the class list {path} ({error!r}); train again, or restore that file."
        ) from error
    return encoder


def write_pretrained(checkpoint, folder):
    """Writes what `from_hparams` reads, in the folder `pretrained`."""
    pretrained = folder / "pretrained"
    text = (folder / "hyperparams.yaml").read_text(encoding="utf-8")
    for name, content in {
        "model.ckpt": checkpoint.paramfiles["model"].read_bytes(),
        "label_encoder.ckpt": (folder / CLASS_FILE).read_bytes(),
        "hyperparams.yaml": pretrained_yaml(text).encode(),
        **{path.name: path.read_bytes() for path in folder.glob(DECISIONS)},
    }.items():
        with whole_file(pretrained / name) as partial:
            partial.write_bytes(content)


def _differing(old, new, most=60):
    """Two texts, cut to where they differ if they are long."""
    start = max(0, len(os.path.commonprefix([old, new])) - most // 2)
    if max(len(old), len(new)) <= most:
        start = 0
    return f"{_cut(old, start, most)} (now {_cut(new, start, most)})"


def _cut(text, start, most):
    end = start + most
    return ("..." if start else "") + text[start:end] + ("..." if end < len(text) else "")
