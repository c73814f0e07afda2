"""Front end: its feature space, and every sampling rate."""

import pytest
import torch
from hyperpyyaml import load_hyperpyyaml
from speechbrain.lobes.features import Fbank
from speechbrain.processing.features import InputNormalization

from vofp_plugin.augment.feature_noise import FeatureNoise
from vofp_plugin.augment.virtual_speaker import VirtualSpeaker
from vofp_plugin.dataio.front_end import LOG_MEL_DB, FrontEnd


class MeanNormalized(torch.nn.Module):
    """Log-mels without their mean, as many recipes have them."""

    def __init__(self):
        super().__init__()
        self.fbank, self.normalize = Fbank(), InputNormalization(norm_type="sentence")

    def forward(self, wavs):
        return self.normalize(self.fbank(wavs), torch.ones(len(wavs)))


@pytest.mark.parametrize("compute", [MeanNormalized(), Fbank(deltas=True), Fbank(context=True)])
def test_augmentations_refuse_features_of_another_space(compute):
    front_end = FrontEnd(compute)
    assert front_end.space != LOG_MEL_DB
    with pytest.raises(ValueError, match="VirtualSpeaker .* in the space log_mel_db; the front"):
        front_end.check_space(VirtualSpeaker(gain=6.0))
    with pytest.raises(ValueError, match="FeatureNoise .* in the space log_mel_db; the front"):
        FeatureNoise(front_end)


def test_augmentations_that_name_no_space_fit_all():
    FrontEnd(MeanNormalized()).check_space(torch.nn.Identity())
    FrontEnd(Fbank()).check_space(VirtualSpeaker())


@pytest.mark.parametrize("rate", [8000, 16000, 22050, 44100])
def test_front_end_of_the_yaml_has_every_rate(repo_root, rate):
    text = (repo_root / "hparams" / "front_ends" / "log_mel.yaml").read_text()
    front_end = load_hyperpyyaml(text, {"sample_rate": rate})["front_end"]
    assert front_end(torch.randn(1, front_end.num_samples)).shape[2] == 40
    assert front_end.compute_features.compute_fbanks.f_max == rate // 2
    assert front_end.space == LOG_MEL_DB
