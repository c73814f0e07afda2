"""The embedding of what the main model makes of an utterance."""

import pytest
import torch
from torch import nn

from vofp_plugin.lobes.embeddings import ActivationEmbedding
from vofp_plugin.lobes.enrollment import Enrollment, EnrollmentEncoder
from vofp_plugin.lobes.hyper_personalizer import HyperPersonalizer
from vofp_plugin.lobes.models.ds_cnn import DSCNN
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
    embedding = ActivationEmbedding(last, ["0.*"], num_features=8)
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
    assert not model.stem.norm._forward_hooks


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
    log_probs = personalized(torch.randn(8, 21, 8), weights)
    (log_probs[:, 0].sum() + kl.sum()).backward()
    still = [n for n, p in personalized.named_parameters() if p.grad is None or not p.grad.any()]
    assert still == []


def test_layer_of_several_outputs_is_refused():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.gru = nn.GRU(40, 3, batch_first=True)

        def forward(self, x):
            return self.gru(x)[0][:, -1].log_softmax(dim=1)

    with pytest.raises(TypeError, match="A GRU gives a tuple; expected layers that give one"):
        ActivationEmbedding(Recurrent(), ["gru"])


def test_logits_are_refused():
    main_model = nn.Sequential(nn.Flatten(), nn.Linear(101 * 40, 3))
    with pytest.raises(ValueError, match="total probability of .*; expected 1: apply log_softmax"):
        ActivationEmbedding(main_model, ["1"])


def test_pattern_that_matches_nothing_is_refused():
    with pytest.raises(ValueError, match="'stim.norm' matches nothing. Layers that exist: .*stem"):
        ActivationEmbedding(main_model(), ["stim.norm"], num_features=8)
