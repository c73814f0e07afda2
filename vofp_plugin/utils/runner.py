"""The runner behind every `train.py`: YAML and command line to a finished, reported run."""

import platform
import re
import sys
from importlib.metadata import version
from pathlib import Path

import speechbrain as sb
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.dataio.dataset import DynamicItemDataset
from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.utils.distributed import ddp_init_group, if_main_process, run_on_main

from vofp_plugin.brains.keyword_spotting import KeywordSpottingBrain, Utterances
from vofp_plugin.dataio.features import NoiseCondition, cached_features
from vofp_plugin.dataio.manifests import SILENCE, check_disjoint, read_manifest
from vofp_plugin.dataio.noise import load_noises
from vofp_plugin.utils.comparison import compare
from vofp_plugin.utils.profiling import count_multiply_adds, count_parameters
from vofp_plugin.utils.reports import SCHEMA_VERSION, write_report
from vofp_plugin.utils.tables import comparison_table
from vofp_plugin.utils.trials import make_draws

RUNNER_KEYS = (
    "prepare",
    "modules",
    "checkpointer",
    "front_end",
    "output_folder",
    "cache_folder",
    "data_folder",
    "test_annotation",
    "fold",
    "num_classes",
    "noise_folder",
    "conditions",
    "test_draws",
    "min_queries",
)
SPLITS = ("train", "valid", "test")
VALID_DRAWS = 4  # per speaker, after every epoch


def run(prepare, argv=None):
    """Prepares, trains, evaluates and reports, as the YAML and the command line say.

    Arguments
    ---------
    prepare : callable
        Called with the YAML's `prepare` section; writes the manifests.
    argv : list of str
        Command line without the program's name; that of the process if None.

    Returns
    -------
    dict
        What `metrics.json` holds.

    Raises
    ------
    ValueError, FileNotFoundError, RuntimeError
        With one message that says what to do; nothing half-written remains.
    """
    yaml_file, run_opts, overrides = sb.parse_arguments(sys.argv[1:] if argv is None else argv)
    ddp_init_group(run_opts)
    hparams = load_yaml(yaml_file, overrides)
    test_only = bool(run_opts.get("test_only"))
    if not test_only:
        run_on_main(prepare, kwargs=hparams["prepare"])
    manifests = read_manifests(hparams, test_only)
    classes = class_encoder(hparams, manifests, test_only)
    overrides = f"{overrides}\nnum_classes: {len(classes)}\n"
    hparams = load_yaml(yaml_file, overrides)
    if not test_only:
        sb.create_experiment_directory(hparams["output_folder"], yaml_file, overrides)
        classes.save(_class_file(hparams))
    brain = KeywordSpottingBrain(
        modules=hparams["modules"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    if not test_only:
        _fit(brain, hparams, manifests, classes)
    metrics = _describe(brain, hparams, manifests, yaml_file, overrides)
    metrics["training"] = _training(brain.history.epochs, hparams)
    _evaluate(brain, hparams, manifests["test"], classes, metrics)
    if if_main_process():
        folder = hparams["output_folder"]
        if test_only:
            folder = Path(folder, Path(hparams["test_annotation"] or "test").stem)
        report = write_report(metrics, folder)
        print(comparison_table(metrics["results"]))
        print(f"Report: {report}\nMetrics: {Path(folder, 'metrics.json')}")
    return metrics


def load_yaml(yaml_file, overrides):
    """Loads a HyperPyYAML file and refuses keys that nothing reads.

    A file with the key `base` holds overrides of the file that it names.

    Arguments
    ---------
    yaml_file : str or Path
    overrides : str
        YAML text; wins over the file.

    Returns
    -------
    dict

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If a key is unknown or read by nothing.
    """
    if not Path(yaml_file).is_file():
        raise FileNotFoundError(f"Found no YAML file {yaml_file}; give one of hparams/*.yaml.")
    text = Path(yaml_file).read_text(encoding="utf-8")
    base = re.match(r"(?:\s*#.*\n)*\s*base:\s*(\S+)\n", text)
    if base:
        base_file = Path(yaml_file).parent / base.group(1)
        return load_yaml(base_file, f"{text[base.end() :]}\n{overrides}")
    check_keys(text, yaml_file)
    with open(yaml_file, encoding="utf-8") as stream:
        try:
            return load_hyperpyyaml(stream, _last_wins(overrides))
        except KeyError as error:
            raise ValueError(
                f"{error.args[0]} in {yaml_file}. Keys that exist: {', '.join(_keys(text))}."
            ) from error


def check_keys(text, yaml_file):
    """Refuses top-level keys that no `!ref` and neither the runner nor the Brain reads."""
    brain = KeywordSpottingBrain
    read = {*RUNNER_KEYS, *brain.HPARAMS_NEEDED, *brain.HPARAMS_OPTIONAL}
    read |= set(re.findall(r"<(\w+)", text))
    unread = [key for key in _keys(text) if key not in read and not key.startswith("__")]
    if unread:
        raise ValueError(
            f"{yaml_file} has keys that nothing reads: {', '.join(unread)}. Remove them or correct "
            "their spelling."
        )


def read_manifests(hparams, test_only):
    """Reads the manifests of all splits, as {split: rows with ID}."""
    folder = Path(hparams["prepare"]["save_folder"])
    paths = {split: folder / f"{split}.csv" for split in SPLITS}
    if test_only:
        paths = {"test": Path(hparams["test_annotation"] or paths["test"])}
    else:
        check_disjoint(paths)
    return {
        split: [{"ID": name, **row} for name, row in read_manifest(path, root).items()]
        for root in [hparams["data_folder"]]
        for split, path in paths.items()
    }


def class_encoder(hparams, manifests, test_only):
    """Class list of the training manifest; in a test, of the trained model."""
    encoder = CategoricalEncoder()
    encoder.expect_len(None)
    if test_only:
        if not _class_file(hparams).is_file():
            raise FileNotFoundError(
                f"Found no {_class_file(hparams)}; --test_only needs the --output_folder of a "
                "finished training."
            )
        encoder.load(_class_file(hparams))
    else:
        encoder.update_from_iterable(sorted({row["command"] for row in manifests["train"]}))
    for split, rows in manifests.items():
        unknown = sorted({row["command"] for row in rows} - set(encoder.lab2ind))
        if unknown:
            raise ValueError(
                f"The {split} manifest has classes that the model does not know: "
                f"{', '.join(unknown)}. It knows: {', '.join(encoder.lab2ind)}."
            )
    return encoder


def utterances(rows, hparams, classes, noise_condition=None):
    """Features, lengths and labels of manifest rows."""
    front_end = hparams["front_end"]
    return Utterances(
        cached_features(rows, front_end, hparams["cache_folder"], noise_condition),
        torch.tensor([front_end.relative_length(row) for row in rows]),
        torch.tensor([classes.encode_label(row["command"]) for row in rows]),
    )


def train_dataset(rows, hparams, classes):
    """`DynamicItemDataset` of manifest rows, with cached features."""
    cached = utterances(rows, hparams, classes)
    data = {
        row["ID"]: {
            "place": place,
            "relative_length": float(cached.lens[place]),
            "label": int(cached.labels[place]),
        }
        for place, row in enumerate(rows)
    }
    dataset = DynamicItemDataset(data)
    dataset.add_dynamic_item(
        lambda place: cached.features([place])[0], takes="place", provides="feats"
    )
    dataset.set_output_keys(["id", "feats", "relative_length", "label"])
    return dataset


def _fit(brain, hparams, manifests, classes):
    run_on_main(lambda: utterances(manifests["train"], hparams, classes))  # fills the cache once
    valid = manifests["valid"]
    draws = make_draws(valid, max(hparams["test_shots"]), VALID_DRAWS, hparams["min_queries"])
    brain.fit_speakers(
        train_dataset(manifests["train"], hparams, classes),
        [row["spk_id"] for row in manifests["train"]],
        utterances(valid, hparams, classes),
        draws,
    )


def _evaluate(brain, hparams, rows, classes, metrics):
    """Adds the scores of every condition to `metrics`."""
    draws = make_draws(
        rows, max(hparams["test_shots"]), hparams["test_draws"], hparams["min_queries"]
    )
    metrics["per_speaker"], metrics["calibration"] = [], []
    for name, snr in hparams["conditions"].items():
        noise = None
        if snr is not None:
            noise = NoiseCondition(load_noises(hparams["noise_folder"], "test"), snr)
        scores = brain.evaluate_draws(utterances(rows, hparams, classes, noise), draws)
        for cell, (speaker_scores, bins) in scores.items():
            place = {**cell._asdict(), "condition": name}
            metrics["per_speaker"] += [{**place, **row} for row in speaker_scores.per_speaker()]
            metrics["calibration"].append({**place, "bins": bins.tolist()})
    best = brain.history.epochs[-1]  # the history as of the checkpoint that was evaluated
    metrics["validation"] = {"accuracy": best["valid_accuracy"], "nll": best["valid_nll"]}
    metrics["results"] = compare([metrics])


def _training(epochs, hparams):
    return {
        "epochs": list(epochs),
        "steps": len(epochs) * hparams["episodes_per_epoch"],
        "wall_time_s": sum(epoch["seconds"] for epoch in epochs),
    }


def _describe(brain, hparams, manifests, yaml_file, overrides):
    """What a reader must know to run this again."""
    model = brain.modules.model
    place = Path(yaml_file).resolve().parent.parent
    clip = torch.zeros(1, hparams["front_end"].num_samples)
    packages = ("speechbrain", "torch", "torchaudio", "hyperpyyaml", "vofp_plugin")
    return {
        "schema_version": SCHEMA_VERSION,
        "recipe": f"{place.parent.name}/{place.name}",
        "yaml": Path(yaml_file).name,
        "system": Path(yaml_file).stem,
        "overrides": overrides,
        "seed": hparams["seed"],
        "fold": hparams["fold"],
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
        "data": {
            split: {
                "speakers": len({row["spk_id"] for row in rows} - {SILENCE}),
                "utterances": len(rows),
            }
            for split, rows in manifests.items()
        },
        "model": {
            "parameters": count_parameters(model),
            "main_parameters": count_parameters(model.main_model),
            "multiply_adds_per_query": count_multiply_adds(
                model.main_model, hparams["front_end"](clip).to(brain.device)
            ),
        },
    }


def _class_file(hparams):
    return Path(hparams["output_folder"]) / "classes.txt"


def _keys(text):
    return re.findall(r"^(\w+):", text, flags=re.MULTILINE)


def _last_wins(overrides):
    """YAML text in which a key repeated further down replaces the earlier one."""
    blocks = {}
    for block in re.split(r"\n(?=\w)", f"\n{overrides or ''}"):
        if block.strip():
            blocks[block.strip().partition(":")[0]] = block.strip("\n")
    return "\n".join(blocks.values())
