"""Personalizes a keyword spotter that was trained elsewhere, and stays as it is.

> python train.py hparams/xvector.yaml --data_folder=/path/to/speech_commands \
      --start_checkpoint=/path/to/speechbrain/recipes/Google-speech-commands/results/xvect_v12/1986

Each YAML in hparams/ says what it is, and from which other one it starts.
"""

from google_speech_commands_prepare import prepare_google_speech_commands

from vofp_plugin.runs.runner import main

if __name__ == "__main__":
    main(prepare_google_speech_commands)
