"""Personal voice activity detection on sentences: which frames are the enrolled speaker's.

> python train.py hparams/two_covariance.yaml --data_folder=/path/to/speechocean762

Each YAML in hparams/ says what it is, and from which other one it starts.
"""

from speechocean762_prepare import prepare_speechocean762

from vofp_plugin.runs.runner import main

if __name__ == "__main__":
    main(prepare_speechocean762)
