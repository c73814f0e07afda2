"""Personal voice activity detection on synthetic commands: which frames are the speaker's.

> python train.py hparams/two_covariance.yaml
> python train.py hparams/concatenation.yaml

Each YAML in hparams/ says what it is, and from which other one it starts.
"""

from synthetic_commands_prepare import prepare_synthetic_commands

from vofp_plugin.runs.runner import main

if __name__ == "__main__":
    main(prepare_synthetic_commands)
