"""SpeechBrain's embedding models and classifiers as main models, and models without lengths."""

import pytest
import torch
from speechbrain.lobes.models import ECAPA_TDNN, ResNet, Xvector
from speechbrain.processing.features import InputNormalization
from torch import nn

from vofp_plugin.lobes.models.encoder_classifier import EncoderClassifier
from vofp_plugin.lobes.models.without_lens import WithoutLens


def make(kind):
    if kind == "xvector":
        encoder = Xvector.Xvector(in_channels=24, tdnn_channels=[8] * 5, lin_neurons=6)
        return EncoderClassifier(encoder, Xvector.Classifier((None, None, 6), out_neurons=4))
    if kind == "ecapa":
        sizes = {"channels": [8] * 4 + [24], "attention_channels": 4, "se_channels": 4}
        encoder = ECAPA_TDNN.ECAPA_TDNN(24, lin_neurons=6, res2net_scale=2, **sizes)
        classifier = ECAPA_TDNN.Classifier(6, out_neurons=4)
        return EncoderClassifier(encoder, classifier, scale=30.0)
    encoder = ResNet.ResNet(24, channels=[4] * 4, block_sizes=[1] * 4, lin_neurons=6)
    return EncoderClassifier(encoder, ResNet.Classifier(6, out_neurons=4), scale=30.0)


@pytest.mark.parametrize("kind", ["xvector", "ecapa", "resnet"])
def test_gives_log_probabilities(kind):
    log_probs = make(kind).eval()(torch.randn(3, 80, 24), torch.tensor([1.0, 0.5, 0.8]))
    assert log_probs.shape == (3, 4)
    torch.testing.assert_close(log_probs.exp().sum(dim=1), torch.ones(3))


def test_scale_and_log_probabilities_of_a_classifier_are_kept():
    model = make("xvector").eval()
    x, lens = torch.randn(3, 80, 24), torch.ones(3)
    expected = model.classifier(model.embedding_model(x, lens)).squeeze(1)
    torch.testing.assert_close(model(x, lens), expected)


def test_normalization_reads_the_lengths():
    model = make("xvector").eval()
    model.normalize = InputNormalization(norm_type="sentence", std_norm=False)
    x, lens = torch.randn(2, 80, 24), torch.tensor([1.0, 0.5])
    torch.testing.assert_close(model(x, lens), model(x + 7.0, lens))


def test_model_without_lengths():
    plain = nn.Sequential(nn.Flatten(), nn.Linear(6, 2))
    x = torch.randn(4, 3, 2)
    torch.testing.assert_close(WithoutLens(plain)(x, torch.ones(4)), plain(x))
