"""Target-speaker keyword spotting on Google Speech Commands: the target's command, nobody else's.

> python train.py hparams/two_covariance.yaml --data_folder=/path/to/speech_commands

Each YAML in hparams/ says what it is, and from which other one it starts.
"""

from google_speech_commands_prepare import prepare_google_speech_commands

from vofp_plugin.runs.runner import main

if __name__ == "__main__":
    main(prepare_google_speech_commands)
