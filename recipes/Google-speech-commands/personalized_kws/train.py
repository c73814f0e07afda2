"""Personalized keyword spotting on Google Speech Commands.

> python train.py hparams/main_model.yaml --data_folder=/path/to/speech_commands
> python train.py hparams/vofp.yaml --data_folder=/path/to/speech_commands

main_model.yaml comes first: the others start from it. Systems: shared.yaml and shared_large.yaml
(one model for everybody), vofp.yaml (weights from the enrollment of each speaker),
vofp_labelled.yaml (which knows the words of the enrollment) and vofp_delta.yaml (its deterministic
ablation). Baselines: film.yaml and concatenation.yaml (a speaker embedding), fine_tuned.yaml and
nearest_mean.yaml (the shared model, adapted to labelled enrollment by settings that validation
speakers chose).
"""

from google_speech_commands_prepare import prepare_google_speech_commands

from vofp_plugin.utils.runner import main

if __name__ == "__main__":
    main(prepare_google_speech_commands)
