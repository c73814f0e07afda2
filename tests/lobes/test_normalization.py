"""Statistics of a global normalization: saved with the model, and fixed in evaluation."""

import pytest
import torch
from speechbrain.lobes.features import Fbank
from speechbrain.nnet.containers import Sequential
from speechbrain.processing.features import InputNormalization
from torch import nn

from vofp_plugin.dataio.front_end import FrontEnd
from vofp_plugin.inference.identity import identity
from vofp_plugin.lobes.baselines.shared import SharedModel


class Normalized(nn.Module):
    """A main model of somebody who knows nothing of this plugin."""

    def __init__(self):
        super().__init__()
        self.normalize = InputNormalization(norm_type="global")
        self.classifier = nn.Linear(8, 2)

    def forward(self, feats, lens):
        return self.classifier(self.normalize(feats, lens).mean(dim=1))


@pytest.fixture
def trained():
    model = SharedModel(Normalized())
    model(3 + 2 * torch.randn(4, 20, 8))
    return model.eval()


def test_statistics_are_saved_with_the_model(trained, tmp_path):
    torch.save(trained.state_dict(), tmp_path / "model.ckpt")
    loaded = SharedModel(Normalized()).eval()
    loaded.load_state_dict(torch.load(tmp_path / "model.ckpt", weights_only=True))
    feats = torch.randn(2, 20, 8)
    assert torch.equal(loaded(feats), trained(feats))
    assert identity(loaded) == identity(trained)


def test_evaluation_changes_neither_statistics_nor_identity(trained):
    before, mean = identity(trained), trained.main_model.normalize.glob_mean.clone()
    trained(torch.randn(2, 20, 8) - 5)
    assert torch.equal(trained.main_model.normalize.glob_mean, mean)
    assert identity(trained) == before


def test_statistics_are_part_of_the_identity(trained):
    before = identity(trained)
    trained.train()(torch.randn(2, 20, 8) - 5)
    assert identity(trained.eval()) != before


def test_model_before_training_can_be_probed():
    assert SharedModel(Normalized()).eval()(torch.randn(2, 20, 8)).isfinite().all()


def test_statistics_in_a_front_end_are_refused():
    with pytest.raises(ValueError, match="global InputNormalization.* expected it in the main"):
        FrontEnd(Sequential(Fbank(n_mels=8), InputNormalization(norm_type="global")))
    FrontEnd(Sequential(Fbank(n_mels=8), InputNormalization(norm_type="sentence")))
