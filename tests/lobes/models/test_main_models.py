"""Main models: sizes, gradients, independence of items, learning, and their YAML fragments."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hyperpyyaml import load_hyperpyyaml
from torch import nn

from vofp_plugin.lobes.models.bc_resnet import BCResNet, BroadcastedBlock
from vofp_plugin.lobes.models.ds_cnn import DSCNN, DepthwiseSeparableBlock
from vofp_plugin.nnet.injection import inject_, weight_specs
from vofp_plugin.utils.profiling import count_multiply_adds, count_parameters

FRAGMENTS = Path(__file__).parents[3] / "hparams" / "main_models"
MAIN_MODELS = pytest.mark.parametrize("main_model_class", [DSCNN, BCResNet])


def decibels(num_items, num_frames=101, seed=0):
    """Features far from zero mean and unit variance, (B, T, 40), in dB; each item has a sound."""
    generator = torch.Generator().manual_seed(seed)
    sound = torch.randn(num_items, 5, 40, generator=generator)
    noise = torch.randn(num_items, num_frames, 40, generator=generator)
    return 15 * F.interpolate(sound.mT, num_frames).mT + 5 * noise - 40


@MAIN_MODELS
@pytest.mark.parametrize("num_frames", [101, 98, 51])
def test_output_is_one_distribution_per_item(main_model_class, num_frames):
    log_probs = main_model_class(num_classes=7)(decibels(3, num_frames))
    assert log_probs.shape == (3, 7)
    torch.testing.assert_close(log_probs.exp().sum(dim=1), torch.ones(3))


@MAIN_MODELS
def test_wrong_number_of_features_is_refused(main_model_class):
    with pytest.raises(ValueError, match="Got 80 features in a frame; expected 40"):
        main_model_class(num_classes=7)(torch.randn(3, 101, 80))


def test_even_kernel_is_refused():
    with pytest.raises(ValueError, match="Got kernel_size 8; expected an odd number"):
        DSCNN(num_classes=7, kernel_size=8)


@pytest.mark.parametrize(
    "block, shape, keeps_input",
    [
        (DepthwiseSeparableBlock(8, 9), (2, 8, 1, 51), True),
        (BroadcastedBlock(8, 8, 1, 2, 0.1), (2, 8, 20, 51), True),
        (BroadcastedBlock(12, 8, 1, 2, 0.1), (2, 12, 20, 51), False),
    ],
)
def test_silenced_block_keeps_its_input_unless_it_changes_the_width(block, shape, keeps_input):
    for name, parameter in block.named_parameters():
        if ".norm." in name:
            nn.init.zeros_(parameter)
    x = torch.randn(shape)
    expected = x.relu() if keeps_input else torch.zeros(2, 8, 20, 51)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(
    "scale, source_thousands", [(1, 9.2), (1.5, 17.2), (2, 27.3), (3, 54.2), (6, 188), (8, 321)]
)
def test_bc_resnet_has_the_parameters_of_its_source(scale, source_thousands):
    thousands = count_parameters(BCResNet(num_classes=12, scale=scale)) / 1000
    digits = 0 if source_thousands > 100 else 1
    assert round(thousands, digits) == source_thousands


def test_multiply_adds_of_ds_cnn():
    stem, depthwise, pointwise, classifier = 5 * 40 * 8 * 51, 3 * 8 * 51, 8 * 8 * 51, 8 * 6
    model = DSCNN(num_classes=6, channels=8, num_blocks=2, kernel_size=3)
    expected = stem + 2 * (depthwise + pointwise) + classifier
    assert count_multiply_adds(model, decibels(5)) == expected


def test_counting_multiply_adds_leaves_the_model_as_it_was():
    model = DSCNN(num_classes=6, num_blocks=1)
    model.stem.eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    count_multiply_adds(model, decibels(5))
    assert model.training and model.blocks.training and not model.stem.norm.training
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)


@MAIN_MODELS
def test_every_parameter_gets_a_gradient(main_model_class):
    model = main_model_class(num_classes=5)
    F.nll_loss(model(decibels(10)), torch.arange(10) % 5).backward()
    without = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == []


@MAIN_MODELS
def test_items_are_independent_in_evaluation(main_model_class):
    model = main_model_class(num_classes=5)
    for _ in range(40):  # until the running statistics are those of the features
        model(decibels(8, num_frames=31))
    model.eval()
    features = decibels(4, num_frames=31, seed=1)
    together = model(features)
    alone = torch.cat([model(item.unsqueeze(0)) for item in features])
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert (together[0] - together[1]).abs().max() > 1e-3


@MAIN_MODELS
def test_level_of_the_input_does_not_matter_in_training(main_model_class):
    torch.manual_seed(0)
    model = main_model_class(num_classes=5)
    features = decibels(10)
    torch.manual_seed(1)
    log_probs = model(features)
    torch.manual_seed(1)
    torch.testing.assert_close(model(features + 30), log_probs, rtol=1e-3, atol=1e-3)


@MAIN_MODELS
def test_state_dict_round_trip(main_model_class):
    saved, loaded = main_model_class(num_classes=5), main_model_class(num_classes=5)
    saved(decibels(10))
    loaded.load_state_dict(saved.state_dict())
    features = decibels(2, seed=1)
    torch.testing.assert_close(loaded.eval()(features), saved.eval()(features), rtol=0, atol=0)


@MAIN_MODELS
def test_all_parameters_can_be_injected(main_model_class):
    model = main_model_class(num_classes=5)
    names = [name for name, _ in model.named_parameters()]
    assert list(weight_specs(inject_(model, ["*"]))) == names


@pytest.mark.parametrize(
    "target", ["stem.conv", "blocks.*.depthwise.norm", "blocks.3.pointwise.conv", "classifier"]
)
def test_targets_of_ds_cnn(target):
    assert weight_specs(inject_(DSCNN(num_classes=5), [target]))


@pytest.mark.parametrize(
    "target", ["stem.norm", "blocks.*.frequency.norm", "blocks.11.pointwise.conv", "classifier"]
)
def test_targets_of_bc_resnet(target):
    assert weight_specs(inject_(BCResNet(num_classes=5), [target]))


@MAIN_MODELS
def test_overfits_a_tiny_set(main_model_class):
    torch.manual_seed(0)
    model, features, labels = main_model_class(num_classes=4), decibels(8, 51), torch.arange(8) % 4
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(80):
        optimizer.zero_grad()
        F.nll_loss(model(features), labels).backward()
        optimizer.step()
    log_probs = model.eval()(features)
    assert (log_probs.argmax(dim=1) == labels).all()
    assert F.nll_loss(log_probs, labels) < 0.1


@pytest.mark.parametrize(
    "fragment, override, expected",
    [
        ("ds_cnn.yaml", "channels: 16", DSCNN(num_classes=5, channels=16)),
        ("bc_resnet.yaml", "scale: 2", BCResNet(num_classes=5, scale=2)),
    ],
)
def test_fragment_is_included_with_overrides(tmp_path, fragment, override, expected):
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "num_classes: 5\n"
        f"main: !include:{FRAGMENTS / fragment}\n"
        "    num_classes: !ref <num_classes>\n"
        f"    {override}\n"
        "main_model: !ref <main[main_model]>\n"
    )
    with open(recipe) as stream:
        hparams = load_hyperpyyaml(stream)
    assert type(hparams["main_model"]) is type(expected)
    assert hparams["main_model"] is hparams["main"]["main_model"]
    assert shapes(hparams["main_model"]) == shapes(expected)


@pytest.mark.parametrize(
    "fragment, default",
    [("ds_cnn.yaml", DSCNN(num_classes=12)), ("bc_resnet.yaml", BCResNet(num_classes=12))],
)
def test_fragment_has_the_defaults_of_the_class(fragment, default):
    with open(FRAGMENTS / fragment) as stream:
        hparams = load_hyperpyyaml(stream)
    assert shapes(hparams["main_model"]) == shapes(default)


def shapes(model: nn.Module):
    return {name: value.shape for name, value in model.state_dict().items()}
