"""Trains the shared and the personalized model, and compares the two systems.

> python demo.py
"""

import signal
import subprocess
import sys
from pathlib import Path

from vofp_plugin.cli.main import main as vofp

RECIPE = Path(__file__).resolve().parent
RESULTS = RECIPE / "results"
SYSTEMS = ("shared", "vofp")


def main():
    """Trains, and prints the comparison; returns the exit status."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # an exit that ends a training too
    for system in SYSTEMS:
        print(f"Training {system}.yaml", flush=True)
        command = [sys.executable, "train.py", f"hparams/{system}.yaml"]
        if subprocess.run(command, cwd=RECIPE).returncode:
            print("The training failed.", file=sys.stderr)
            return 1
    runs = [str(RESULTS / system / "fold0_seed0") for system in SYSTEMS]
    return vofp(["compare", *runs, f"--output_folder={RESULTS / 'comparison'}"])


if __name__ == "__main__":
    sys.exit(main())
