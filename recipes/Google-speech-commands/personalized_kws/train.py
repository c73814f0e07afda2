"""Personalized keyword spotting on Google Speech Commands.

> python train.py hparams/shared.yaml --data_folder=/path/to/speech_commands
> python train.py hparams/vofp.yaml --data_folder=/path/to/speech_commands

Each YAML in hparams/ says what it is, and from which other one it starts.
"""

from google_speech_commands_prepare import prepare_google_speech_commands

from vofp_plugin.runs.runner import main

if __name__ == "__main__":
    main(prepare_google_speech_commands)
