"""Identity: whatever changes the answers changes the digest, and looking costs little."""

import copy
from unittest.mock import patch

import pytest
import torch
from speechbrain.lobes.features import Fbank
from torch import nn

from vofp_plugin.dataio.front_end import FrontEnd
from vofp_plugin.inference import identity as module
from vofp_plugin.inference.identity import identity
from vofp_plugin.lobes.embeddings import ActivationEmbedding, ConvEmbedding
from vofp_plugin.lobes.enrollment import EnrollmentEncoder
from vofp_plugin.lobes.hyper_personalizer import HyperPersonalizer
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.personalized import PersonalizedModel
from vofp_plugin.nnet.modes import Replace, Residual


def make_model(form="channel", layers=("*.norm", "classifier"), **settings):
    torch.manual_seed(0)
    main_model = DSCNN(num_classes=5, channels=6, num_blocks=1)
    encoder = EnrollmentEncoder(ActivationEmbedding(main_model, layers), code_size=4)
    personalizer = HyperPersonalizer(main_model, {"classifier": form}, 4, **settings)
    return PersonalizedModel(main_model, encoder, personalizer).eval()


@pytest.fixture(scope="module")
def unchanged():
    """Digest of the model that `make_model` makes."""
    return identity(make_model())


def test_equal_models_have_one_digest(unchanged):
    assert identity(make_model()) == identity(copy.deepcopy(make_model())) == unchanged


def test_mode_of_training_is_no_part_of_it(unchanged):
    model = make_model().train()
    assert identity(model) == unchanged
    assert identity(model.eval()) == unchanged


def test_answering_leaves_it_as_it_is(unchanged):
    model = make_model()
    model(torch.rand(2, 101, 40))
    assert identity(model) == unchanged
    front_end = FrontEnd(Fbank(n_mels=40, context=True))
    before = identity(front_end)
    front_end(torch.rand(2, 16000))
    assert identity(front_end) == before


@torch.no_grad()
def step(model):
    model.main_model.classifier.weight.add_(1e-3)


def buffer(model):
    model.main_model.stem.norm.running_mean[0] += 1


def load(model):
    state = {name: tensor + 1 for name, tensor in model.state_dict().items()}
    model.load_state_dict(state)


def parameter(model):
    model.main_model.classifier.bias = nn.Parameter(torch.ones(5))


def layer(model):
    model.main_model.stem.norm = nn.Identity()


def data(model):
    model.main_model.classifier.weight.data = torch.ones(5, 6)


def rounded(model):
    model.half().float()


@pytest.mark.parametrize("change", [step, buffer, load, parameter, layer, data, rounded])
def test_change_is_noticed(change, unchanged):
    model = make_model()
    assert identity(model) == unchanged
    change(model)
    assert identity(model) != unchanged


@pytest.mark.parametrize(
    "settings",
    [
        {"form": "full"},
        {"mode": Replace()},
        {"mode": Residual(0.4)},
        {"layers": ("stem.norm", "classifier")},
    ],
)
def test_settings_are_part_of_it(settings):
    """With nothing but zeros in both models."""
    models = make_model(), make_model(**settings)
    for model in models:
        model.load_state_dict({name: 0 * x for name, x in model.state_dict().items()})
    assert identity(models[0]) != identity(models[1])


def test_forms_of_equal_size_differ():
    """The same numbers, made into other weights."""
    first, second = (
        HyperPersonalizer(nn.Sequential(nn.Linear(1, 4)), {"0": form}, 4)
        for form in ("full", "channel")
    )
    second.load_state_dict(first.state_dict())
    assert identity(first) != identity(second)


def test_settings_of_layers_without_state_are_part_of_it():
    assert identity(nn.LeakyReLU(0.1)) != identity(nn.LeakyReLU(0.2))
    assert identity(nn.ReLU()) != identity(nn.Tanh())
    first, second = (ConvEmbedding(strides=strides) for strides in ((2, 2, 1), (1, 2, 2)))
    second.load_state_dict(first.state_dict())
    assert identity(first) != identity(second)


@pytest.mark.parametrize(
    "other",
    [
        FrontEnd(Fbank(n_mels=24)),
        FrontEnd(Fbank(n_mels=40, f_max=4000)),
        FrontEnd(Fbank(n_mels=40, hop_length=5)),
        FrontEnd(Fbank(n_mels=40), sample_rate=8000),
        FrontEnd(Fbank(n_mels=40), clip_duration=1.5),
        FrontEnd(nn.Identity()),
        FrontEnd(abs),
    ],
)
def test_front_ends_differ(other):
    assert identity(other) != identity(FrontEnd(Fbank(n_mels=40)))


def test_front_end_has_the_digest_of_its_like():
    assert identity(FrontEnd(Fbank(n_mels=40))) == identity(FrontEnd(Fbank(n_mels=40)))


def test_state_of_the_front_end_is_part_of_it():
    front_end = FrontEnd(Fbank(n_mels=40, requires_grad=True))
    before = identity(front_end)
    with torch.no_grad():
        next(front_end.compute_features.parameters()).add_(1.0)
    assert identity(front_end) != before


def test_low_precision_has_a_digest_of_its_own(unchanged):
    model = make_model().bfloat16()
    assert identity(model) == identity(make_model().bfloat16()) != unchanged


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated")
def test_quantized_model_has_a_digest(unchanged):
    quantize = torch.ao.quantization.quantize_dynamic
    model = quantize(make_model(), {nn.Linear})
    assert identity(model) == identity(quantize(make_model(), {nn.Linear})) != unchanged
    other = make_model()
    with torch.no_grad():
        other.hyper_personalizer.mean.weight.mul_(-1)
    assert identity(quantize(other, {nn.Linear})) != identity(model)


@pytest.mark.filterwarnings("ignore:torch.ao.quantization is deprecated")
def test_repacked_weights_are_noticed():
    model = torch.ao.quantization.quantize_dynamic(nn.Sequential(nn.Linear(3, 2)), {nn.Linear})
    before = identity(model)
    weight = torch.quantize_per_tensor(torch.ones(2, 3), 0.1, 0, torch.qint8)
    model[0].set_weight_bias(weight, torch.zeros(2))
    assert identity(model) != before


def test_tensors_are_hashed_once():
    model = make_model()
    before = identity(model)
    with patch.object(module.hashlib, "sha256", side_effect=AssertionError("hashed")):
        assert identity(model) == before


def test_weights_loaded_for_inference_alone_have_a_digest():
    with torch.inference_mode():
        model = nn.Linear(2, 2)
    before = identity(model)
    with torch.inference_mode():
        model.weight += 1
    assert identity(model) != before


def test_kept_digests_do_not_keep_the_model():
    model = make_model()
    identity(model)
    held = len(module._KNOWN)
    del model
    assert len(module._KNOWN) == held - 1
