"""Personalized keyword spotting on synthetic commands spoken by espeak-ng.

> python train.py hparams/main_model.yaml
> python train.py hparams/vofp.yaml

main_model.yaml comes first: the others start from it. Each YAML in hparams/ says what it is.
"""

from synthetic_commands_prepare import prepare_synthetic_commands

from vofp_plugin.utils.runner import main

if __name__ == "__main__":
    main(prepare_synthetic_commands)
