"""Speech activity, frame by frame, on synthetic commands: the seed of a personal VAD.

> python train.py hparams/shared.yaml
> python train.py hparams/vofp.yaml

Each YAML in hparams/ says what it is, and from which other one it starts.
"""

from synthetic_commands_prepare import prepare_synthetic_commands

from vofp_plugin.runs.runner import main

if __name__ == "__main__":
    main(prepare_synthetic_commands)
