"""Speaker verification in the layout of VoxCeleb: is this the enrolled speaker?

> python train.py hparams/two_covariance.yaml --data_folder=/path/to/voxceleb

Each YAML in hparams/ says what it is, and from which other one it starts.
"""

from voxceleb_prepare import prepare_voxceleb

from vofp_plugin.runs.runner import main

if __name__ == "__main__":
    main(prepare_voxceleb)
