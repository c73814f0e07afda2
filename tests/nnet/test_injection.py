"""Injection: what changes in a model, what must not, and everything that is refused."""

import copy
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn

from vofp_plugin.nnet.injection import eject_, inject_, injected, merge_, weight_specs
from vofp_plugin.nnet.layers import WEIGHT_INJECTED, WeightInjected


class Spotter(nn.Module):
    """One layer of every injectable kind, and some without parameters."""

    def __init__(self):
        super().__init__()
        self.image = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU())
        self.frames = nn.Sequential(nn.Conv1d(2, 3, 3), nn.BatchNorm1d(3), nn.ReLU())
        self.norm = nn.LayerNorm(3)
        self.classifier = nn.Linear(3, 4)

    def forward(self, x):
        x = self.frames(self.image(x.unsqueeze(1)).mean(-1))
        return self.classifier(self.norm(x.mean(-1)))


@pytest.fixture
def model():
    return Spotter().eval()


def random_weights(model, num_speakers):
    return {name: torch.randn(num_speakers, *shape) for name, shape in weight_specs(model).items()}


def layer_types(model):
    return [type(layer) for layer in model.modules()]


def test_inject_keeps_parameters_keys_and_output(model):
    parameters, keys = dict(model.named_parameters()), list(model.state_dict())
    x = torch.randn(2, 6, 5)
    before = model(x)
    assert inject_(model, ["*"]) is model
    assert list(model.state_dict()) == keys
    after = dict(model.named_parameters())
    assert all(after[name] is parameters[name] for name in parameters)
    torch.testing.assert_close(model(x), before, rtol=0, atol=0)


def test_inject_turns_only_what_the_targets_match(model):
    inject_(model, ["image.*", "classifier"])
    names = [name for name, layer in model.named_modules() if isinstance(layer, WeightInjected)]
    assert names == ["image.0", "image.1", "classifier"]
    assert list(weight_specs(model)) == [
        f"{name}.{key}" for name in names for key in ("weight", "bias")
    ]


def test_inject_twice_adds_targets(model):
    inject_(inject_(model, ["norm"]), ["norm", "classifier"])
    assert [name.split(".")[0] for name in weight_specs(model)] == ["norm"] * 2 + ["classifier"] * 2


def test_inject_of_a_model_that_is_one_layer():
    layer = inject_(nn.Linear(3, 2), ["*"])
    weights = {"weight": torch.zeros(4, 2, 3), "bias": torch.arange(8.0).view(4, 2)}
    with injected(layer, weights):
        torch.testing.assert_close(layer(torch.randn(4, 3)), weights["bias"])


def test_eject_undoes_inject(model):
    plain, keys = layer_types(model), list(model.state_dict())
    parameters = list(model.parameters())
    with injected(inject_(model, ["*"]), random_weights(model, 2)):
        model(torch.randn(2, 6, 5))
    assert eject_(model) is model
    assert layer_types(model) == plain and list(model.state_dict()) == keys
    assert all(a is b for a, b in zip(model.parameters(), parameters, strict=True))
    assert weight_specs(model) == {}
    assert not any("injected_weights" in vars(layer) for layer in model.modules())


def test_specs_are_the_parameters_in_the_order_of_the_model(model):
    inject_(model, ["classifier", "*"])
    expected = {name: parameter.shape for name, parameter in model.named_parameters()}
    assert list(weight_specs(model).items()) == list(expected.items())


def test_every_injectable_kind_is_in_the_model(model):
    assert set(WEIGHT_INJECTED) <= set(layer_types(model))


def test_injected_equals_loading_one_speaker_after_another(model):
    inject_(model, ["*"])
    weights, x = random_weights(model, 3), torch.randn(6, 6, 5)
    with injected(model, weights):
        y = model(x)
    for n, items in enumerate(x.chunk(3)):
        alone = copy.deepcopy(model)
        alone.load_state_dict({k: w[n] for k, w in weights.items()}, strict=False)
        torch.testing.assert_close(y[2 * n : 2 * n + 2], alone(items))


def test_injected_is_over_after_the_block(model):
    inject_(model, ["*"])
    x = torch.randn(2, 6, 5)
    before = model(x)
    with injected(model, random_weights(model, 2)) as same:
        assert same is model
        assert not torch.equal(model(x), before)
    torch.testing.assert_close(model(x), before, rtol=0, atol=0)


def test_injected_is_over_after_an_exception(model):
    inject_(model, ["*"])
    x = torch.randn(2, 6, 5)
    before = model(x)
    with pytest.raises(KeyError, match="inside"), injected(model, random_weights(model, 2)):
        raise KeyError("inside")
    torch.testing.assert_close(model(x), before, rtol=0, atol=0)


def test_nested_blocks_restore_the_outer_weights(model):
    inject_(model, ["*"])
    x = torch.randn(2, 6, 5)
    with injected(model, random_weights(model, 2)):
        outer = model(x)
        with injected(model, random_weights(model, 1)):
            assert not torch.equal(model(x), outer)
        torch.testing.assert_close(model(x), outer, rtol=0, atol=0)


def test_refused_weights_leave_the_outer_block_in_force(model):
    inject_(model, ["*"])
    x = torch.randn(2, 6, 5)
    with injected(model, random_weights(model, 2)):
        outer = model(x)
        with pytest.raises(ValueError), injected(model, {}):
            pass
        torch.testing.assert_close(model(x), outer, rtol=0, atol=0)


def test_deepcopy_has_weights_and_parameters_of_its_own(model):
    inject_(model, ["*"])
    twin = copy.deepcopy(model)
    assert layer_types(twin) == layer_types(model) and weight_specs(twin) == weight_specs(model)
    x = torch.randn(2, 6, 5)
    before = twin(x)
    with injected(model, random_weights(model, 2)), torch.no_grad():
        model.classifier.weight.zero_()
        torch.testing.assert_close(twin(x), before, rtol=0, atol=0)


def test_state_dict_loads_into_a_plain_model_and_back(model):
    inject_(model, ["*"])
    plain = Spotter().eval()
    with injected(model, random_weights(model, 2)):
        plain.load_state_dict(model.state_dict())
    x = torch.randn(2, 6, 5)
    torch.testing.assert_close(plain(x), model(x), rtol=0, atol=0)
    other = Spotter().eval()
    model.load_state_dict(other.state_dict())
    torch.testing.assert_close(model(x), other(x), rtol=0, atol=0)


def test_gradients_reach_the_injected_weights_and_what_they_come_from(model):
    inject_(model, ["*"])
    scale = torch.ones((), requires_grad=True)
    weights = {name: weight * scale for name, weight in random_weights(model, 2).items()}
    with injected(model, weights):
        loss = model(torch.randn(4, 6, 5)).square().sum()
    loss.backward()
    assert scale.grad.abs() > 0


@pytest.mark.parametrize("target", ["clasifier", "image", "image.2", "nothing.*", ""])
def test_target_without_an_injectable_layer_is_refused(model, target):
    with pytest.raises(ValueError, match="matches no injectable layer") as error:
        inject_(model, ["norm", target])
    assert repr(target) in str(error.value)
    assert "image.0, image.1, frames.0, frames.1, norm, classifier" in str(error.value)
    assert weight_specs(model) == {}, "a refused call must change nothing"


def test_error_of_a_model_that_is_injected_lists_its_layers_too(model):
    inject_(model, ["*"])
    with pytest.raises(ValueError, match="Layers that exist: image.0, .*classifier"):
        inject_(model, ["clasifier"])


@pytest.mark.parametrize(
    "layer, name",
    [
        (nn.MultiheadAttention(4, 2), "MultiheadAttention"),
        (nn.LSTM(4, 2), "LSTM"),
        (nn.GRU(4, 2), "GRU"),
        (nn.Embedding(4, 2), "Embedding"),
        (nn.ConvTranspose1d(4, 2, 3), "ConvTranspose1d"),
        (nn.utils.parametrizations.weight_norm(nn.Conv1d(4, 2, 3)), "ParametrizedConv1d"),
        (type("MyLinear", (nn.Linear,), {})(4, 2), "MyLinear"),
    ],
)
def test_matched_layer_that_cannot_be_injected_is_refused(layer, name):
    model = nn.ModuleDict({"first": nn.Linear(4, 4), "second": layer})
    with pytest.raises(TypeError, match=f"cannot be injected: 'second.*' is a {name}"):
        inject_(model, ["*"])
    assert weight_specs(model) == {}, "a refused call must change nothing"


def test_layers_without_parameters_of_their_own_are_passed_over():
    model = nn.Sequential(nn.BatchNorm1d(3, affine=False), nn.ReLU(), nn.Linear(3, 2))
    assert list(weight_specs(inject_(model, ["*"]))) == ["2.weight", "2.bias"]


def test_weights_that_are_missing_or_unknown_are_refused(model):
    inject_(model, ["norm", "classifier"])
    weights = random_weights(model, 2)
    weights["clasifier.bias"] = weights.pop("classifier.bias")
    with pytest.raises(ValueError) as error, injected(model, weights):
        pass
    assert "missing ['classifier.bias'], unknown ['clasifier.bias']" in str(error.value)
    assert "'norm.weight', 'norm.bias', 'classifier.weight'" in str(error.value)


def test_weights_for_a_model_that_is_not_injected_are_refused(model):
    with pytest.raises(ValueError, match="call inject_ first"):
        with injected(model, {"classifier.bias": torch.zeros(2, 4)}):
            pass


@pytest.mark.parametrize("shape", [(2, 5), (4,), (2, 4, 1), (2,), ()])
def test_weight_of_wrong_shape_is_refused(model, shape):
    inject_(model, ["classifier"])
    weights = {**random_weights(model, 2), "classifier.bias": torch.zeros(shape)}
    with pytest.raises(ValueError, match=r"'classifier.bias' .* expected \(speakers, 4\)"):
        with injected(model, weights):
            pass


def test_weights_of_different_numbers_of_speakers_are_refused(model):
    inject_(model, ["classifier"])
    weights = {**random_weights(model, 2), "classifier.bias": torch.zeros(3, 4)}
    with pytest.raises(ValueError, match="different numbers of speakers"):
        with injected(model, weights):
            pass


def test_layers_that_a_fused_kernel_passes_by_are_refused():
    model = nn.Sequential(nn.TransformerEncoderLayer(8, 2, 16))
    with pytest.raises(TypeError, match="TransformerEncoderLayer"):
        inject_(model, ["*.linear1"])


def test_weights_that_are_made_of_others_are_refused():
    with pytest.warns(FutureWarning):
        model = nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 2)))
    with pytest.raises(TypeError, match="'0' is a Linear made of bias, weight_g"):
        inject_(model, ["0"])


def test_last_pattern_that_matches_decides(model):
    inject_(model, {"*": "full", "frames.*": None, "frames.0": "full", "norm": None})
    names = [name for name, layer in model.named_modules() if isinstance(layer, WeightInjected)]
    assert names == ["image.0", "image.1", "frames.0", "classifier"]


def test_excluding_pattern_that_matches_nothing_is_refused(model):
    with pytest.raises(ValueError, match="'clasifier' matches no injectable layer"):
        inject_(model, {"*": "full", "clasifier": None})
    assert weight_specs(model) == {}


def test_layers_that_cannot_be_injected_are_passed_over_if_asked_to():
    model = nn.ModuleDict({"gru": nn.GRU(4, 4), "out": nn.Linear(4, 2)})
    with pytest.raises(TypeError, match="'gru' is a GRU"):
        inject_(model, ["*"])
    assert list(weight_specs(inject_(model, ["*"], skip=True))) == ["out.weight", "out.bias"]
    with pytest.raises(ValueError, match="'gru' matches no injectable layer"):
        inject_(model, ["gru"], skip=True)


def test_tied_weights_are_refused_whichever_layer_is_the_target():
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3), nn.Linear(3, 3))
    model[2].weight = model[0].weight
    for target, reason in {"0": "'0' is tied to 2", "2": "'2' is tied to 0"}.items():
        with pytest.raises(TypeError, match=reason):
            inject_(model, [target])
    assert list(weight_specs(inject_(model, ["*"], skip=True))) == ["1.weight", "1.bias"]


def test_layer_of_two_names_is_merged():
    layer = nn.Linear(3, 3)
    model, x = inject_(nn.Sequential(layer, nn.ReLU(), layer), ["*"]), torch.randn(2, 3)
    weights = random_weights(model, 1)
    with injected(model, weights):
        expected = model(x)
    torch.testing.assert_close(merge_(copy.deepcopy(model), weights)(x), expected)


def test_other_threads_do_not_see_the_weights(model):
    inject_(model, ["*"])
    x = torch.randn(2, 6, 5)
    shared = model(x)
    with injected(model, random_weights(model, 2)), ThreadPoolExecutor() as pool:
        torch.testing.assert_close(pool.submit(model, x).result(), shared, rtol=0, atol=0)
        assert not torch.equal(model(x), shared)
