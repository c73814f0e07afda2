"""Trains the shared and the personalized system side by side, and compares them.

> python demo.py
"""

import signal
import subprocess
import sys
import time
from pathlib import Path

from vofp_plugin.cli import main as vofp
from vofp_plugin.dataio.synthetic import make_corpus

RECIPE = Path(__file__).resolve().parent
RESULTS = RECIPE / "results"
SHARED_LOG = RESULTS / "shared.log"


def main():
    """Makes the corpus, trains, prints the comparison; returns the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an exit that ends the trainings too
    make_corpus(RESULTS / "corpus")  # once, before two trainings look for it
    print(f"Training shared.yaml, with its output in {SHARED_LOG}, beside vofp.yaml.", flush=True)
    with open(SHARED_LOG, "w", encoding="utf-8") as log:
        shared = start_training("shared.yaml", log)
        failed = first_failure([shared, start_training("vofp.yaml")])
    if failed:
        last_lines = SHARED_LOG.read_text(encoding="utf-8").splitlines()[-20:]
        print(*(last_lines if failed is shared else []), "A training failed.", sep="\n")
        return 1
    runs = [str(RESULTS / system / "fold0_seed0") for system in ("shared", "vofp")]
    return vofp(["compare", *runs, f"--output_folder={RESULTS / 'comparison'}"])


def start_training(yaml_file, log=None):
    """Starts train.py with a YAML file, its output in an open file or on the terminal."""
    command = [sys.executable, "train.py", f"hparams/{yaml_file}"]
    return subprocess.Popen(command, cwd=RECIPE, stdout=log, stderr=log)


def first_failure(processes):
    """Waits until all processes succeed or one fails, which ends the others.

    Arguments
    ---------
    processes : list of subprocess.Popen

    Returns
    -------
    subprocess.Popen or None
        The first one found to have failed.
    """
    try:
        while None in (codes := [process.poll() for process in processes]) and not any(codes):
            time.sleep(0.5)
        return next((process for process in processes if process.returncode), None)
    finally:
        for process in processes:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    sys.exit(main())
