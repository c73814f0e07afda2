"""The runner behind every `train.py`: YAML and command line to a finished, reported run."""

import re
import sys
from pathlib import Path

import speechbrain as sb
import torch
from speechbrain.utils.distributed import ddp_init_group, if_main_process
from speechbrain.utils.logger import get_logger

from vofp_plugin.evaluation.conditions import check_evaluation_keys
from vofp_plugin.evaluation.reports import write_report
from vofp_plugin.evaluation.tables import comparison_table
from vofp_plugin.runs.configuration import TRAINING_OPTIONS, parse_overrides
from vofp_plugin.runs.ownership import owned
from vofp_plugin.runs.run import Run
from vofp_plugin.runs.testing import test
from vofp_plugin.runs.training import train
from vofp_plugin.utils.files import reason_of

logger = get_logger(__name__)


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
    except (ImportError, MemoryError, OSError, RuntimeError, TypeError, ValueError) as error:
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
    this = _read_command_line(sys.argv[1:] if argv is None else argv)
    check_evaluation_keys(this.hparams)
    _check_device(this)
    folder = this.results_folder
    with owned(folder):
        metrics = test(this) if this.run_opts.test_only else train(this, prepare)
        if if_main_process():
            report = write_report(metrics, folder)
            print(comparison_table(metrics["results"]))
            print(f"Report: {report}\nMetrics: {folder / 'metrics.json'}")
    return metrics


def _read_command_line(argv):
    """The `Run` that a command line asks for, which remembers options that change a training."""
    yaml_file, run_opts, text = sb.parse_arguments(argv)
    _check_values(argv, yaml_file)
    ddp_init_group(run_opts)
    # One option on each line; of one that is repeated, the last wins.
    lines = filter(None, re.split(r"\n(?=\S)", text or ""))
    given = {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}
    options = [key for key in TRAINING_OPTIONS if key in run_opts.overridden_args]
    given |= {key: str(run_opts[key]) for key in options}
    asked = Run(yaml_file, run_opts, parse_overrides(given), given)
    if not run_opts.debug:
        return asked
    # The numbers of a debugging run mean nothing: they must not replace those of a real one.
    given["output_folder"] = f"{asked.hparams['output_folder']}/debug"
    overrides = {**asked.overrides, "output_folder": given["output_folder"]}
    return Run(yaml_file, run_opts, overrides, given)


def _check_values(argv, yaml_file):
    """Refuses values with an =, which SpeechBrain's command line would replace by a space."""
    for text in argv:
        value = text.partition("=")[2] if text.startswith("--") else text
        if "=" in value and text != yaml_file:
            raise ValueError(
                f"Got {text!r}, but SpeechBrain's command line takes no value with an =; write the "
                "value in a YAML of your own, or use a path without one."
            )


def _check_device(run):
    """Refuses a device that is not there, before any work.

    Raises
    ------
    ValueError
        With what torch says of it.
    """
    device = run.run_opts.device or run.hparams.get("device")
    try:
        torch.empty(0, device=device)
    except (AssertionError, RuntimeError) as error:
        raise ValueError(
            f"Got the device {device}, which cannot be used here ({reason_of(error)}); give "
            "--device=cpu, or one that this machine has."
        ) from error
