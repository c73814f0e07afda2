"""Run: one YAML with its options, and what trainings and tests of it have in common."""

import platform
from importlib.metadata import version
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.distributed import if_main_process
from speechbrain.utils.run_opts import RunOptions

from vofp_plugin.dataio.manifests import read_manifest, speakers_of
from vofp_plugin.evaluation.conditions import evaluation_data, with_bad_enrollments
from vofp_plugin.evaluation.reports import SCHEMA_VERSION
from vofp_plugin.lobes.baselines.adapted import AdaptedModel
from vofp_plugin.runs.brain import PersonalizedBrain
from vofp_plugin.runs.configuration import load_resolved, load_yaml, resolve_yaml
from vofp_plugin.runs.run_folder import annotation_folder
from vofp_plugin.utils.files import whole_file
from vofp_plugin.utils.profiling import count_multiply_adds, count_parameters

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
    *PersonalizedBrain.HPARAMS_NEEDED,
)
# Top-level keys of a YAML that are read without a `!ref`. Run options are among them, as
# SpeechBrain allows, but not those that the runner itself reads from the command line.
READ_KEYS = (
    *NEEDED_KEYS,
    "start_folder",
    "start_checkpoint",
    "start_classes",
    "detection",
    "interface",
    "personal_vad",
    *PersonalizedBrain.HPARAMS_OPTIONAL,
    *(RunOptions().as_dict().keys() - {"test_only", "debug", "param_file"}),
)


class Run:
    """A YAML, its options, and `hparams`, which they make.

    Arguments
    ---------
    yaml_file : str or Path
    run_opts : speechbrain.utils.run_opts.RunOptions
    overrides : dict
        As `parse_overrides` gives them.
    given : dict
        {key: text} of the same, as they were typed.
    """

    def __init__(self, yaml_file, run_opts, overrides, given):
        self.yaml_file = Path(yaml_file)
        self.run_opts = run_opts
        self.overrides = overrides
        self.given = given
        # Without its checkpointer, which would make the output folder.
        without = {**overrides, "checkpointer": None}
        self.hparams = load_yaml(yaml_file, without, READ_KEYS)
        lacking = [key for key in NEEDED_KEYS if key not in self.hparams]
        if lacking:
            raise ValueError(
                f"{yaml_file} lacks the keys {', '.join(lacking)}; see those of vofp.yaml."
            )

    @property
    def system(self):
        """Name of what is trained or tested: that of the YAML."""
        return self.yaml_file.stem

    @property
    def results_folder(self):
        """Folder that the results go to: that of the run, or one within it for a test."""
        if self.run_opts.test_only:
            return annotation_folder(self.hparams)
        return Path(self.hparams["output_folder"])

    def settings(self, **replaced):
        """Resolved text of the YAML, with some overrides replaced."""
        return resolve_yaml(self.yaml_file, {**self.overrides, **replaced})

    def read_manifest(self, path):
        """Rows of a manifest, with ID, whose audio must be there."""
        rows = read_manifest(path, self.hparams["data_folder"])
        missing = [row["wav"] for row in rows.values() if not Path(row["wav"]).is_file()]
        if missing:
            raise FileNotFoundError(
                f"Found no {missing[0]}, nor {len(missing) - 1} others of {path}; is --data_folder "
                "the folder that $data_root stands for? If the files are gone, delete the "
                "prepared.json beside it to prepare again."
            )
        return [{"ID": name, **row} for name, row in rows.items()]

    def begin(self, classes, folder):
        """Loads all for so many classes, and makes the folder of the results."""
        self.overrides = {**self.overrides, "num_classes": len(classes)}
        text = self.settings()
        self.hparams = load_resolved(text)
        sb.create_experiment_directory(folder)
        if if_main_process():
            with whole_file(Path(folder) / "hyperparams.yaml") as partial:
                partial.write_text(text, encoding="utf-8")

    def brain(self):
        """Makes the Brain, whose model may be an adapted one."""
        return PersonalizedBrain(
            modules=self.hparams["modules"],
            hparams=self.hparams,
            run_opts=self.run_opts,
            checkpointer=self.hparams["checkpointer"],
        )

    @property
    def adapts(self):
        """Whether the model is adapted by a setting, which a sweep chooses."""
        return isinstance(self.hparams["modules"]["model"], AdaptedModel)

    def test_data(self, rows, classes):
        """Draws and {name: condition} of the speakers to be asked."""
        hparams = self.hparams
        draws, conditions = evaluation_data(hparams, rows, classes, hparams["test_draws"])
        return draws, with_bad_enrollments(conditions, rows, hparams, classes)

    def describe(self, manifests):
        """What a reader must know to run this again."""
        hparams = self.hparams
        place = self.yaml_file.resolve().parent.parent
        packages = ("speechbrain", "torch", "torchaudio", "hyperpyyaml", "vofp_plugin")
        return {
            "schema_version": SCHEMA_VERSION,
            "recipe": f"{place.parent.name}/{place.name}",
            "yaml": self.yaml_file.name,
            "system": self.system,
            "overrides": self.given,
            "seed": hparams["seed"],
            "fold": hparams["fold"],
            "conditions": {k: v for k, v in hparams["conditions"].items() if v is not None},
            "versions": {
                "python": platform.python_version(),
                **{package: version(package) for package in packages},
            },
            "data": {
                split: {"speakers": len(speakers_of(rows)), "utterances": len(rows)}
                for split, rows in manifests.items()
            },
            "model": self._costs(),
        }

    def _costs(self):
        """Size and cost of the model, and of a frozen encoder that is its front end."""
        model, front_end = self.hparams["modules"]["model"], self.hparams["front_end"]
        clip = torch.zeros(1, front_end.num_samples)
        encoder = front_end.compute_features
        size = count_parameters(encoder)  # 0 where it computes log-mels
        cost = count_multiply_adds(encoder, clip) if size else 0
        return {
            "parameters": count_parameters(model) + size,
            "main_parameters": count_parameters(model.main_model) + size,
            "multiply_adds_per_query": count_multiply_adds(model, front_end(clip)) + cost,
        }


def check_classes(classes, manifests, task):
    """Refuses manifests with classes that the model does not know."""
    for split, rows in manifests.items():
        unknown = sorted(set(task.classes(rows)) - set(classes.lab2ind))
        if unknown:
            raise ValueError(
                f"The {split} manifest has classes that the model does not know: "
                f"{', '.join(unknown)}. It knows: {', '.join(classes.lab2ind)}. Leave the rows of "
                "the others out, or choose another --fold."
            )
