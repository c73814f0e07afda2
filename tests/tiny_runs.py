"""Runs of the recipes that take seconds: few episodes of few speakers, few draws."""

import importlib.util
import os
import sys
from collections import defaultdict
from pathlib import Path
from unittest.mock import patch

from vofp_plugin.runs.runner import run

RECIPES = Path(__file__).resolve().parents[1] / "recipes"
GOOGLE = RECIPES / "Google-speech-commands" / "personalized_kws"
TINY = (
    "--num_epochs=2",
    "--episodes_per_epoch=3",
    "--num_speakers=4",
    "--test_shots=[1,3]",
    "--test_draws=2",
    "--noprogressbar",
)
# Each condition, and each kind of bad enrollment in it, is asked anew, which takes most of a run.
BRIEF = ("--conditions={other_noise: null, quiet_enrollment: null}", "--bad_enrollments=[]")


def load_prepare(recipe):
    """The module and the name of the function that prepares the data of a recipe's folder."""
    (path,) = Path(recipe).glob("*_prepare.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module, f"prepare_{path.stem.removesuffix('_prepare')}"


def from_scratch(yaml):
    """Options for a YAML whose main model may start from a trained one."""
    frozen = Path(yaml).name.startswith(("vofp", "film")) and "target_speaker_kws" not in str(yaml)
    unfrozen = ["--freeze_main_model=False"] if frozen else []
    return ["--start_folder=null", *unfrozen]


def google_arguments(yaml, data_folder, output_folder, cache_folder, *options):
    """Command line of a tiny run of the Google recipe; later options win."""
    return [
        str(GOOGLE / "hparams" / yaml),
        f"--data_folder={data_folder}",
        f"--output_folder={output_folder}",
        f"--cache_folder={cache_folder}",
        *TINY,
        *BRIEF,
        *from_scratch(yaml),
        *options,
    ]


def run_google(*arguments):
    """Runs the Google recipe in this process, but draws no plots; see `google_arguments`."""
    module, function = load_prepare(GOOGLE)
    with patch("vofp_plugin.evaluation.reports.save_figure"):
        return run(getattr(module, function), google_arguments(*arguments))


def train_google(*arguments, **environment):
    """Command and options of the Google recipe as a user's process, for `subprocess`."""
    command = [sys.executable, "train.py", *google_arguments(*arguments)]
    own = {name: value for name, value in os.environ.items() if name != "SB_LOG_LEVEL"}
    return command, {"cwd": GOOGLE, "env": {**own, "OMP_NUM_THREADS": "1", **environment}}


def scores_of(metrics, enrollment, shots):
    """{condition: {speaker: (accuracy, NLL)}}."""
    scores = defaultdict(dict)
    for row in metrics["per_speaker"]:
        if (row["enrollment"], row["shots"]) == (enrollment, shots):
            scores[row["condition"]][row["speaker"]] = (row["accuracy"], row["nll"])
    return scores


def folder_contents(folder):
    """{relative path: bytes} of all files below a folder; empty if it is not there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in Path(folder).rglob("*")
        if path.is_file()
    }
