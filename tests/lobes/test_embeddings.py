"""The embedding of what the main model makes of an utterance."""

import copy

import pytest
import torch
from speechbrain.lobes.models.Xvector import Xvector
from speechbrain.nnet.CNN import Conv1d, Conv2d
from speechbrain.nnet.normalization import BatchNorm1d
from torch import nn

from vofp_plugin.lobes.embeddings import ActivationEmbedding
from vofp_plugin.lobes.enrollment import Enrollment, EnrollmentEncoder
from vofp_plugin.lobes.hyper_personalizer import HyperPersonalizer
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.models.without_lens import WithoutLens
from vofp_plugin.lobes.personalized import PersonalizedModel
from vofp_plugin.nnet.injection import inject_


def main_model():
    return DSCNN(num_classes=5, num_features=8, channels=6, num_blocks=1, kernel_size=3).eval()


def embed(model, x, layers):
    return ActivationEmbedding(model, layers, num_features=8).eval()(x)[:, 0]


def test_embedding_is_pooled_features_layers_and_the_answer():
    model, x = main_model(), torch.randn(3, 21, 8)
    stem = model.stem(model.input_norm(x.transpose(1, 2).unsqueeze(2)))
    pooled = [t.flatten(2) for t in (x.transpose(1, 2), stem)]
    pooled = [y for t in pooled for y in (t.mean(2), t.var(2, unbiased=False).add(1e-5).sqrt())]
    hidden = model.embed(x)
    expected = torch.cat([*pooled, hidden, model.classifier(hidden), model(x).exp()], dim=1)
    got = embed(model, x, ["stem.norm", "classifier"])
    standardized, heard = got.split([expected.shape[1], 5], dim=1)
    standardized *= (1 + 1e-5) ** 0.5  # not yet
    torch.testing.assert_close(standardized, expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(heard, model(x).exp())


def test_channels_of_layers_over_frames_are_their_last_dimension():
    frames = nn.Sequential(nn.Linear(8, 6), nn.LayerNorm(6))
    last = nn.Sequential(frames, nn.AdaptiveAvgPool2d((1, 5)), nn.Flatten(1), nn.LogSoftmax(1))
    embedding = ActivationEmbedding(WithoutLens(last), ["model.0.*"], num_features=8)
    assert embedding.size == 2 * (8 + 6 + 6) + 5


def test_main_model_is_not_owned_and_gets_no_gradient():
    model = main_model()
    embedding = ActivationEmbedding(model, num_features=8).train()
    assert not list(embedding.parameters())
    assert not any("stem" in name for name in embedding.state_dict())
    assert not embedding(torch.randn(3, 21, 8)).requires_grad


def test_probing_leaves_the_main_model_as_it_was():
    model = main_model().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    ActivationEmbedding(model, num_features=8)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model.training and model.stem.training
    assert copy.deepcopy(model).state_dict().keys() == before.keys()


def test_constructor_that_fails_leaves_no_hook():
    model = main_model()
    with pytest.raises(RuntimeError):
        ActivationEmbedding(WithoutLens(nn.Sequential(model, nn.Linear(7, 7))), ["*.norm"], 8)
    assert not any(module._forward_hooks for module in model.modules())


def test_reads_shared_weights_whatever_was_injected():
    model, x = main_model(), torch.randn(3, 21, 8)
    expected = embed(model, x, ["*.norm"])
    inject_(model, ["*.norm"])
    torch.testing.assert_close(embed(model, x, ["*.norm"]), expected)


def test_embeddings_are_standardized_over_utterances_in_training_and_after_it():
    embedding, x = ActivationEmbedding(main_model(), num_features=8).train(), torch.randn(64, 21, 8)
    for _ in range(100):  # until the running statistics are those of x
        trained = embedding(x)[:, 0]
    embedding.eval()
    for values in (trained, embedding(x)[:, 0]):
        values = values[:, : embedding.size]
        assert values.mean(dim=0).abs().max() < 0.05
        spread = values.std(dim=0)  # below 1 where there is hardly any, next to the constant
        assert spread.max() < 1.1 and spread.median() > 0.9


def test_one_utterance_can_be_trained_on():
    embedding = ActivationEmbedding(main_model(), num_features=8).train()
    assert embedding(torch.randn(1, 21, 8)).isfinite().all()


def test_every_parameter_gets_a_gradient():
    model = main_model()
    embedding = ActivationEmbedding(model, num_features=8)
    personalized = PersonalizedModel(
        model,
        EnrollmentEncoder(embedding, aggregation="bayesian", words="heard"),
        HyperPersonalizer(model, {"*.norm": "channel", "classifier": "full"}),
    )
    nn.init.normal_(personalized.hyper_personalizer.mean.weight, std=0.1)
    personalized.train()
    weights, kl = personalized.draw(Enrollment(torch.randn(4, 2, 21, 8), torch.ones(4, 2)))
    log_probs = personalized(torch.randn(8, 21, 8), weights=weights)
    (log_probs[:, 0].sum() + kl.sum()).backward()
    still = [n for n, p in personalized.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_layer_of_several_outputs_is_refused():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(40, 3, batch_first=True)

        def forward(self, x, lens):
            return self.gru(x)[0][:, -1].log_softmax(dim=1)

    with pytest.raises(TypeError, match="A GRU gives a tuple; expected layers that give one"):
        ActivationEmbedding(Recurrent(), ["gru"])


class Frames(nn.Module):
    """Answers (B, T, 5), and has layers of every layout."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = Conv1d(6, 3, in_channels=8), BatchNorm1d(input_size=6)
        self.bands, self.lin = Conv2d(4, (3, 3), input_shape=(None, None, 6)), nn.Linear(6, 5)

    def forward(self, x, lens):
        x = self.norm(self.conv(x))
        self.bands(x)
        return self.lin(x.transpose(0, 1)).transpose(0, 1)  # the batch is not first


def test_time_axis_is_found_in_every_layout():
    model, x = Frames().eval(), torch.randn(3, 50, 8)
    layers = ["conv", "conv.conv", "norm", "norm.norm", "bands", "lin"]
    embedding = ActivationEmbedding(model, layers, num_features=8).eval()
    assert embedding.num_answers == 0
    channels = {"conv.conv": 6, "conv": 6, "norm.norm": 6, "norm": 6, "bands": 4, "lin": 5}
    assert embedding.size == 2 * (8 + sum(channels.values()) + 5)
    conv = model.conv(x)
    expected = [x, conv, conv, *2 * [model.norm(conv)]]
    expected += [model.bands(model.norm(conv)).flatten(1, 2), *2 * [model(x, None)]]
    means = torch.cat([y.mean(1) for y in expected], dim=1)
    got = embedding(x)[:, 0] * (1 + 1e-5) ** 0.5
    places, start = [], 0
    for size in (8, *channels.values(), 5):
        places += range(start, start + size)
        start += 2 * size
    torch.testing.assert_close(got[:, places], means, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("num_frames", [40, 101])
def test_embeddings_and_logits_are_taken_as_they_are(num_frames):
    model = Xvector(tdnn_channels=[6] * 5, lin_neurons=5, in_channels=8).eval()
    embedding = ActivationEmbedding(model, ["blocks.0", "blocks.0.conv"], 8).eval()
    assert (embedding.size, embedding.num_answers) == (2 * (8 + 6 + 6) + 5, 0)
    assert embedding(torch.randn(2, num_frames, 8), torch.tensor([1.0, 0.5])).shape == (2, 1, 45)
    with pytest.raises(ValueError, match="'heard' for ActivationEmbedding, which answers none"):
        EnrollmentEncoder(embedding, words="heard")


def test_layer_that_mixes_items_and_frames_is_refused():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.lin = nn.Linear(8, 5)

        def forward(self, x, lens):
            return self.lin(x.flatten(0, 1)).view(len(x), -1, 5).mean(1)

    with pytest.raises(ValueError, match=r"'lin' gives \(202, 5\) and \(423, 5\)"):
        ActivationEmbedding(Flat(), ["lin"], num_features=8)


def test_pattern_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match="'stim.norm' matches nothing. Layers that exist: .*stem"):
        ActivationEmbedding(main_model(), ["stim.norm"], num_features=8)
