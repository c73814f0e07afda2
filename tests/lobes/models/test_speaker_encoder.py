"""Speaker encoders of others: frozen ones stay as they are, embeddings pass."""

from importlib.util import find_spec

import pytest
import torch
from torch import nn

from vofp_plugin.dataio.resemblyzer import ResemblyzerEmbedding
from vofp_plugin.lobes.detection_head import DetectionHead
from vofp_plugin.lobes.detector import Detector
from vofp_plugin.lobes.models.speaker_encoder import SpeakerEncoder


class Pooled(nn.Module):
    """Stands for an embedding model of SpeechBrain's: (B, T, F) and lens to (B, 1, F)."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm1d(8)

    def forward(self, feats, lens):
        return self.norm(feats.mean(dim=1)).unsqueeze(1)


def test_a_frozen_encoder_is_not_changed_by_training():
    encoder = SpeakerEncoder(embedding_size=8, embedding_model=Pooled(), frozen=True)
    model = Detector(encoder, DetectionHead(8, code_size=4)).train()
    before = {name: x.clone() for name, x in encoder.state_dict().items()}
    model(torch.randn(6, 20, 8)).sum().backward()
    assert all(torch.equal(x, before[name]) for name, x in encoder.state_dict().items())
    assert all(x.grad is None for x in encoder.parameters())


def test_embeddings_of_a_front_end_pass():
    log_probs, embeddings = SpeakerEncoder(embedding_size=8)(torch.ones(3, 1, 8))
    assert torch.equal(embeddings, torch.ones(3, 8)) and not log_probs.any()


def test_resemblyzer_gives_embeddings_of_length_1():
    if find_spec("resemblyzer") is None:
        pytest.skip("needs the extra 'peers'")
    embeddings = ResemblyzerEmbedding()(torch.randn(2, 48000))
    torch.testing.assert_close(embeddings.norm(dim=2), torch.ones(2, 1))


def test_resemblyzer_says_what_to_install(monkeypatch):
    monkeypatch.setattr("vofp_plugin.dataio.resemblyzer.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'vofp_plugin\[peers\]'"):
        ResemblyzerEmbedding()
