"""Personalized keyword spotting on Arabic Speech Commands.

> python train.py hparams/shared.yaml --data_folder=/path/to/arabic_speech_commands
> python train.py hparams/vofp.yaml --data_folder=/path/to/arabic_speech_commands

Each YAML in hparams/ says what it is, and from which other one it starts.
"""

from arabic_speech_commands_prepare import prepare_arabic_speech_commands

from vofp_plugin.runs.runner import main

if __name__ == "__main__":
    main(prepare_arabic_speech_commands)
