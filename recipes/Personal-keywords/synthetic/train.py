"""Personal keywords: any word that was enrolled by its takes, by anybody or by one speaker alone.

> python train.py hparams/unheard.yaml --data_folder=/path/to/corpus

Each YAML in hparams/ says what it is, and from which other one it starts.
"""

from personal_keywords_prepare import prepare_personal_keywords

from vofp_plugin.runs.runner import main

if __name__ == "__main__":
    main(prepare_personal_keywords)
