"""The runner behind every `train.py`: YAML and command line to a finished, reported run."""

import platform
import sys
from importlib.metadata import version
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.utils.distributed import ddp_init_group, if_main_process, run_on_main
from speechbrain.utils.logger import get_logger
from speechbrain.utils.run_opts import RunOptions

from vofp_plugin.dataio.manifests import read_manifest, speakers_of
from vofp_plugin.dataio.noise import noise_names
from vofp_plugin.dataio.splits import check_disjoint, manifest_paths
from vofp_plugin.dataio.utterances import train_dataset
from vofp_plugin.evaluation.conditions import (
    Condition,
    check_evaluation_keys,
    evaluation_data,
    utterances_of,
    with_bad_enrollments,
)
from vofp_plugin.evaluation.reports import SCHEMA_VERSION, write_report
from vofp_plugin.evaluation.scores import compare
from vofp_plugin.evaluation.sweep import chosen_settings, load_sweep, mark_chosen, save_sweep
from vofp_plugin.evaluation.tables import comparison_table
from vofp_plugin.evaluation.trials import make_draws
from vofp_plugin.lobes.baselines.adapted import AdaptedModel
from vofp_plugin.lobes.personalized import PersonalizedModel
from vofp_plugin.runs.checkpoints import main_model_state
from vofp_plugin.runs.configuration import (
    TRAINING_OPTIONS,
    check_overrides,
    load_yaml,
    resolve_yaml,
    settings,
)
from vofp_plugin.runs.keyword_brain import KeywordSpottingBrain
from vofp_plugin.runs.run_folder import (
    CLASS_FILE,
    annotation_folder,
    check_folder,
    class_file,
    has_checkpoint,
    load_classes,
    made_by,
    write_pretrained,
)
from vofp_plugin.utils.files import reason_of, whole_file
from vofp_plugin.utils.profiling import count_multiply_adds, count_parameters

logger = get_logger(__name__)

NEEDED_KEYS = (  # of a YAML
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
    "bad_enrollments",
    "test_draws",
    "min_queries",
    *KeywordSpottingBrain.HPARAMS_NEEDED,
)
# Top-level keys of a YAML that are read without a `!ref`. Run options are among them, as
# SpeechBrain allows, but not those that the runner itself reads from the command line.
READ_KEYS = (
    *NEEDED_KEYS,
    "start_folder",
    *KeywordSpottingBrain.HPARAMS_OPTIONAL,
    *(RunOptions().as_dict().keys() - {"test_only", "debug", "param_file"}),
)
VALID_DRAWS = 4  # per speaker, after every epoch
SWEEP_DRAWS = 3  # per speaker, at most; gradient steps by all settings take minutes each


def main(prepare):
    """Runs a `train.py`: `run`, but with errors as one line that says what to do, not a traceback.

    The traceback goes to `log.txt` in the output folder, if the run got that far.

    Arguments
    ---------
    prepare : callable
        As for `run`.
    """
    try:
        run(prepare)
    except (ImportError, OSError, RuntimeError, TypeError, ValueError) as error:
        logger.setLevel("DEBUG")  # SpeechBrain's level, INFO, is that of the console too
        logger.debug("The run ended with an error.", exc_info=True)
        # HyperPyYAML puts the class in front of the arguments of a TypeError.
        parts = error.args if isinstance(error, TypeError) else [error]
        message = " ".join(" ".join(map(str, parts)).split())
        print(f"{Path(sys.argv[0]).name}: {message}", file=sys.stderr)
        sys.exit(1)


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
    yaml_file, run_opts, overrides = _arguments(sys.argv[1:] if argv is None else argv)
    test_only, given = run_opts.test_only, settings(overrides)
    hparams = _load_without_folder(yaml_file, overrides)
    check_evaluation_keys(hparams)
    check_folder(hparams, yaml_file, overrides, test_only)
    if not test_only:
        run_on_main(prepare, kwargs=hparams["prepare"])
    manifests = read_manifests(hparams, test_only)
    if test_only:
        _warn_of_known_speakers(hparams, manifests["test"])
    classes = class_encoder(hparams, manifests, test_only)
    overrides = f"{overrides}\nnum_classes: {len(classes)}"
    hparams = load_yaml(yaml_file, overrides, READ_KEYS)
    folder = annotation_folder(hparams) if test_only else Path(hparams["output_folder"])
    sb.create_experiment_directory(folder)
    if if_main_process():
        with whole_file(folder / "hyperparams.yaml") as partial:
            partial.write_text(resolve_yaml(yaml_file, overrides), encoding="utf-8")
    if not test_only:
        _start_main_model(hparams, manifests, classes)
    metrics = _describe(hparams, manifests, yaml_file, given)
    metrics["settings"] = made_by(hparams, yaml_file, overrides, test_only)
    draws, conditions = evaluation_data(hparams, manifests["test"], classes, hparams["test_draws"])
    conditions = with_bad_enrollments(conditions, manifests["test"], hparams, classes)
    brain = KeywordSpottingBrain(
        modules=hparams["modules"],
        hparams=hparams,
        run_opts=run_opts,
        checkpointer=hparams["checkpointer"],
    )
    if not test_only:
        _fit(brain, hparams, manifests, classes)
    if isinstance(brain.modules.model, AdaptedModel):
        metrics["sweep"] = _sweep(brain, hparams, manifests, classes, test_only)
    _evaluate(brain, draws, conditions, metrics)
    metrics["training"] = _training(brain)  # once the checkpoint that tells of it is loaded
    if if_main_process():
        if not test_only:
            write_pretrained(brain.checkpointer.find_checkpoint(), folder)
        report = write_report(metrics, folder)
        print(comparison_table(metrics["results"]))
        print(f"Report: {report}\nMetrics: {folder / 'metrics.json'}")
    return metrics


def _arguments(argv):
    """YAML file, run options, and overrides with those options that a run must remember."""
    yaml_file, run_opts, overrides = sb.parse_arguments(argv)
    ddp_init_group(run_opts)
    options = [key for key in TRAINING_OPTIONS if key in run_opts.overridden_args]
    overrides = "\n".join([overrides, *(f"{key}: {run_opts[key]}" for key in options)])
    check_overrides(overrides)
    if run_opts.debug:  # its numbers mean nothing: they must not replace those of a real run
        folder = _load_without_folder(yaml_file, overrides)["output_folder"]
        overrides = f"{overrides}\noutput_folder: {folder}/debug"
    return yaml_file, run_opts, overrides


def _load_without_folder(yaml_file, overrides):
    """The YAML without its checkpointer, which would make the output folder."""
    hparams = load_yaml(yaml_file, f"{overrides}\ncheckpointer: null", READ_KEYS)
    lacking = [key for key in NEEDED_KEYS if key not in hparams]
    if lacking:
        raise ValueError(
            f"{yaml_file} lacks the keys {', '.join(lacking)}; see those of vofp.yaml."
        )
    return hparams


def read_manifests(hparams, test_only):
    """Reads the manifests of all splits, as {split: rows with ID}."""
    if hparams["test_annotation"] and not test_only:
        raise ValueError(
            f"Got --test_annotation={hparams['test_annotation']} for a training; add --test_only, "
            "with the --output_folder of a finished one."
        )
    paths = manifest_paths(hparams["prepare"]["save_folder"])
    if test_only:
        paths = {"test": Path(hparams["test_annotation"] or paths["test"])}
    else:
        check_disjoint(paths)
    manifests = {}
    for split, path in paths.items():
        rows = read_manifest(path, hparams["data_folder"])
        missing = [row["wav"] for row in rows.values() if not Path(row["wav"]).is_file()]
        if missing:
            raise FileNotFoundError(
                f"Found no {missing[0]}, nor {len(missing) - 1} others of {path}; is --data_folder "
                "the folder that $data_root stands for? If the files are gone, delete the "
                "prepared.json beside it to prepare again."
            )
        manifests[split] = [{"ID": name, **row} for name, row in rows.items()]
    return manifests


def class_encoder(hparams, manifests, test_only):
    """Class list of the training manifest; in a test, of the trained model."""
    if test_only:
        encoder = load_classes(class_file(hparams))
    else:
        encoder = CategoricalEncoder()
        encoder.expect_len(None)
        encoder.update_from_iterable(sorted({row["command"] for row in manifests["train"]}))
    for split, rows in manifests.items():
        unknown = sorted({row["command"] for row in rows} - set(encoder.lab2ind))
        if unknown:
            raise ValueError(
                f"The {split} manifest has classes that the model does not know: "
                f"{', '.join(unknown)}. It knows: {', '.join(encoder.lab2ind)}. Leave the rows of "
                "the others out, or choose another --fold."
            )
    return encoder


def _start_main_model(hparams, manifests, classes):
    """Starts from the main model of a finished run, which must not know the speakers asked."""
    model, folder = hparams["modules"]["model"], hparams.get("start_folder")
    main_model = model.main_model
    learns = any(parameter.requires_grad for parameter in main_model.parameters())
    stays = not learns or hparams["epoch_counter"].limit < 1
    if folder is None:
        if stays:
            raise ValueError(
                "Got no start_folder for a main model that is not trained: give the --start_folder "
                "of a trained one, or --num_epochs, and --freeze_main_model=False where it is so."
            )
        return
    if has_checkpoint(hparams["output_folder"]):  # goes on from there
        if stays and has_checkpoint(folder):
            _check_start_is_the_same(hparams["output_folder"], folder)
        return
    state = main_model_state(folder)
    _check_start(folder, hparams, manifests, classes)
    try:
        main_model.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(
            f"Cannot start from the main model in {folder} ({reason_of(error)}). It is another "
            "one: give the --start_folder of a run with a main model of the same settings."
        ) from error
    if isinstance(model, PersonalizedModel):
        model.hyper_personalizer.main_model_changed(main_model)


def _check_start_is_the_same(output_folder, folder):
    """Refuses to go on with a main model that is no longer the one in the start folder."""
    old, new = main_model_state(output_folder), main_model_state(folder)
    if old.keys() != new.keys() or not all(torch.equal(old[name], new[name]) for name in new):
        raise ValueError(
            f"{output_folder} holds a run that started from another main model than is in {folder} "
            "now. Give another --output_folder, delete that folder, or give the --start_folder of "
            "its run."
        )


def _check_start(folder, hparams, manifests, classes):
    """Refuses a main model of an unfinished run, of other classes, or that knows speakers asked."""
    if not (Path(folder) / "metrics.json").is_file():
        raise ValueError(
            f"The run in {folder} has not ended; start it again, which resumes it, and wait for "
            "its metrics.json."
        )
    known_classes = load_classes(Path(folder) / CLASS_FILE)
    if known_classes.lab2ind != classes.lab2ind:
        raise ValueError(
            f"The main model in {folder} knows the classes {', '.join(known_classes.lab2ind)}; "
            f"expected {', '.join(classes.lab2ind)}: give the --start_folder of a run on the same "
            "classes."
        )
    trained = read_manifest(Path(folder) / "manifests" / "train.csv", hparams["data_folder"])
    known = speakers_of(trained.values())
    asked = speakers_of(manifests["valid"] + manifests["test"])
    if known & asked:
        raise ValueError(
            f"The main model in {folder} was trained on {len(known & asked)} speakers that are "
            f"to be asked, such as {min(known & asked)}; give the --start_folder of the same fold."
        )


def _warn_of_known_speakers(hparams, rows):
    """Says so if some of the speakers to be asked are no unseen ones."""
    paths = manifest_paths(hparams["prepare"]["save_folder"])
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


def _fit(brain, hparams, manifests, classes):
    if if_main_process():
        with whole_file(class_file(hparams)) as partial:
            classes.save(partial)
    valid = manifests["valid"]
    draws = make_draws(valid, max(hparams["test_shots"]), VALID_DRAWS, hparams["min_queries"])
    train = manifests["train"]
    utterances = utterances_of(valid, hparams, classes)
    brain.fit_speakers(
        train_dataset(train, utterances_of(train, hparams, classes)),
        [row["spk_id"] for row in train],
        Condition(utterances, [utterances]),
        draws,
    )


def _sweep(brain, hparams, manifests, classes, test_only):
    """Scores of all settings of an adapted model on validation speakers, the chosen ones marked."""
    path = Path(hparams["output_folder"]) / "sweep.json"
    if test_only:
        return load_sweep(path)
    num_draws = min(SWEEP_DRAWS, hparams["test_draws"])
    draws, conditions = evaluation_data(hparams, manifests["valid"], classes, num_draws)
    rows = [
        {"condition": name, **row}
        for name, condition in conditions.items()
        for row in brain.sweep(condition, draws)
    ]
    rows = mark_chosen(rows)
    if if_main_process():
        save_sweep(rows, path)
    return rows


def _evaluate(brain, draws, conditions, metrics):
    """Adds the scores of every condition to `metrics`."""
    metrics["evaluation"] = {
        "test_samples": brain.hparams.test_samples,
        "test_draws": brain.hparams.test_draws,
        "largest_shots": max(brain.hparams.test_shots),  # on which it depends who asks what
        "eval_precision": brain.eval_precision,
        "noises": noise_names(brain.hparams.noise_folder) if _hears_noise(brain.hparams) else [],
    }
    metrics["per_speaker"], metrics["calibration"] = [], []
    for name, condition in conditions.items():
        chosen = None
        if "sweep" in metrics:
            chosen = chosen_settings(metrics["sweep"], name, brain.hparams.test_shots)
        scores = brain.evaluate_draws(condition, draws, chosen)
        for given, (speaker_scores, bins) in scores.items():
            place = {**given._asdict(), "condition": name}
            metrics["per_speaker"] += [{**place, **row} for row in speaker_scores.per_speaker()]
            metrics["calibration"].append({**place, "bins": bins.tolist()})
    last = brain.history.epochs[-1]
    metrics["validation"] = {"accuracy": last["valid_accuracy"], "nll": last["valid_nll"]}
    metrics["results"] = compare([metrics])


def _hears_noise(hparams):
    return any(hparams.conditions.values()) or bool(hparams.bad_enrollments)


def _training(brain):
    epochs = list(brain.history.epochs)
    return {
        "epochs": epochs,
        "steps": brain.optimizer_step,
        "wall_time_s": sum(epoch["seconds"] for epoch in epochs),
    }


def _describe(hparams, manifests, yaml_file, overrides):
    """What a reader must know to run this again."""
    model = hparams["modules"]["model"]
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
        "conditions": {k: v for k, v in hparams["conditions"].items() if v is not None},
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in packages},
        },
        "data": {
            split: {
                "speakers": len(speakers_of(rows)),
                "utterances": len(rows),
            }
            for split, rows in manifests.items()
        },
        "model": {
            "parameters": count_parameters(model),
            "main_parameters": count_parameters(model.main_model),
            "multiply_adds_per_query": count_multiply_adds(model, hparams["front_end"](clip)),
        },
    }
