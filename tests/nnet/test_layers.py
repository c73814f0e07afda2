"""Weight-injected layers: each one against a loop of `functional_call`, outputs and gradients."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call

from vofp_plugin.nnet.layers import WEIGHT_INJECTED, WEIGHTS
from vofp_plugin.nnet.speaker_weights import SpeakerWeights, fold

# Torch's note that an even kernel needs more padding on one side.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")

ITEM_LAYERS = {  # layers that treat every item by itself, and the shape of an item
    "linear": (nn.Linear(5, 4), (5,)),
    "linear-frames": (nn.Linear(5, 4), (7, 5)),
    "linear-frames-bands": (nn.Linear(5, 4), (3, 7, 5)),
    "linear-no-bias": (nn.Linear(5, 4, bias=False), (7, 5)),
    "conv1d": (nn.Conv1d(4, 6, 3), (4, 11)),
    "conv1d-no-bias": (nn.Conv1d(4, 6, 3, bias=False), (4, 11)),
    "conv1d-stride-padding-dilation": (
        nn.Conv1d(4, 6, 3, stride=2, padding=3, dilation=2),
        (4, 11),
    ),
    "conv1d-same-even-kernel": (nn.Conv1d(4, 6, 4, padding="same", dilation=2), (4, 11)),
    "conv1d-valid": (nn.Conv1d(4, 6, 3, padding="valid"), (4, 11)),
    "conv1d-groups": (nn.Conv1d(4, 6, 3, groups=2), (4, 11)),
    "conv1d-depthwise": (nn.Conv1d(4, 8, 3, padding=1, groups=4), (4, 11)),
    "conv1d-pointwise": (nn.Conv1d(4, 6, 1), (4, 11)),
    "conv1d-pointwise-no-bias": (nn.Conv1d(4, 6, 1, bias=False), (4, 11)),
    "conv1d-pointwise-valid": (nn.Conv1d(4, 6, 1, padding="valid"), (4, 11)),
    "conv1d-pointwise-same": (nn.Conv1d(4, 6, 1, padding="same"), (4, 11)),
    "conv1d-pointwise-stride": (nn.Conv1d(4, 6, 1, stride=2), (4, 11)),
    "conv1d-pointwise-padding": (nn.Conv1d(4, 6, 1, padding=1), (4, 11)),
    "conv1d-pointwise-groups": (nn.Conv1d(4, 6, 1, groups=2), (4, 11)),
    "conv2d": (nn.Conv2d(4, 6, 3), (4, 7, 8)),
    "conv2d-no-bias": (nn.Conv2d(4, 6, (3, 1), bias=False), (4, 7, 8)),
    "conv2d-stride-padding-dilation": (
        nn.Conv2d(4, 6, (3, 2), stride=(1, 2), padding=(2, 1), dilation=(2, 1)),
        (4, 7, 8),
    ),
    "conv2d-same-even-kernel": (nn.Conv2d(4, 6, (4, 3), padding="same"), (4, 7, 8)),
    "conv2d-valid": (nn.Conv2d(4, 6, 3, padding="valid"), (4, 7, 8)),
    "conv2d-groups": (nn.Conv2d(4, 6, 3, groups=2), (4, 7, 8)),
    "conv2d-depthwise": (nn.Conv2d(4, 4, (3, 1), padding=(1, 0), groups=4), (4, 7, 8)),
    "conv2d-pointwise": (nn.Conv2d(4, 6, 1), (4, 7, 8)),
    "conv2d-pointwise-padding": (nn.Conv2d(4, 6, 1, padding=(0, 1)), (4, 7, 8)),
    "layer-norm": (nn.LayerNorm(5), (5,)),
    "layer-norm-frames": (nn.LayerNorm(5, eps=0.1), (7, 5)),
    "layer-norm-two-dimensions": (nn.LayerNorm((7, 5)), (7, 5)),
    "layer-norm-no-bias": (nn.LayerNorm(5, bias=False), (7, 5)),
    "batch-norm": (nn.BatchNorm1d(4), (4,)),
    "batch-norm-frames": (nn.BatchNorm1d(4, eps=0.1), (4, 11)),
    "batch-norm-2d": (nn.BatchNorm2d(4), (4, 7, 8)),
}
for mode in ("reflect", "replicate", "circular"):
    ITEM_LAYERS[f"conv1d-{mode}"] = (
        nn.Conv1d(4, 6, 5, stride=2, padding=2, padding_mode=mode),
        (4, 11),
    )
    ITEM_LAYERS[f"conv1d-{mode}-same"] = (
        nn.Conv1d(4, 6, 4, padding="same", padding_mode=mode),
        (4, 11),
    )
    ITEM_LAYERS[f"conv2d-{mode}"] = (
        nn.Conv2d(4, 6, (3, 5), padding=(1, 2), groups=2, padding_mode=mode),
        (4, 7, 8),
    )
BATCH_NORMS = {
    "items": (nn.BatchNorm1d(4), (4,)),
    "frames": (nn.BatchNorm1d(4, momentum=0.3), (4, 11)),
    "2d": (nn.BatchNorm2d(4), (4, 7, 8)),
    "cumulative-average": (nn.BatchNorm1d(4, momentum=None), (4, 11)),
    "no-running-statistics": (nn.BatchNorm1d(4, track_running_stats=False), (4, 11)),
}
each_layer = pytest.mark.parametrize("name", ITEM_LAYERS)
each_batch_norm = pytest.mark.parametrize("name", BATCH_NORMS)
each_size = pytest.mark.parametrize("num_speakers, num_queries", [(1, 1), (1, 4), (3, 1), (3, 4)])


def plain_layer(name, layers=ITEM_LAYERS):
    """A double-precision copy in evaluation mode, its running statistics away from 0 and 1."""
    layer = copy.deepcopy(layers[name][0]).double().eval()
    if getattr(layer, "running_mean", None) is not None:
        layer.running_mean.normal_()
        layer.running_var.uniform_(0.5, 2.0)
    return layer


def random_batch(name, batch_size, layers=ITEM_LAYERS):
    shape = (batch_size, *layers[name][1])
    return torch.randn(shape, dtype=torch.float64, requires_grad=True)


def random_weights(layer, num_speakers):
    return {
        key: torch.randn(num_speakers, *parameter.shape).double().requires_grad_()
        for key, parameter in layer.named_parameters()
    }


@pytest.fixture(autouse=True)
def no_weights_from_elsewhere():
    token = WEIGHTS.set({})
    yield
    WEIGHTS.reset(token)


def inject(layer, weights):
    """A weight-injected copy that runs with `weights` until the end of the test."""
    layer = copy.deepcopy(layer)
    layer.__class__ = WEIGHT_INJECTED[type(layer)]
    if weights is not None:
        own = {layer: SpeakerWeights.of(weights["weight"], weights.get("bias"))}
        WEIGHTS.set({**WEIGHTS.get(), **fold(own)})
    return layer


def loop(layer, weights, x):
    """Oracle: one speaker after another, each with the plain layer."""
    num_speakers = len(next(iter(weights.values())))
    return torch.cat(
        [
            functional_call(layer, {key: value[n] for key, value in weights.items()}, (items,))
            for n, items in enumerate(x.chunk(num_speakers))
        ]
    )


def assert_same_gradients(y, expected, inputs):
    direction = torch.randn_like(y)
    torch.testing.assert_close(
        torch.autograd.grad(y, inputs, direction),
        torch.autograd.grad(expected, inputs, direction),
    )


@each_layer
@each_size
def test_layer_equals_loop_over_speakers(name, num_speakers, num_queries):
    plain = plain_layer(name)
    weights = random_weights(plain, num_speakers)
    x = random_batch(name, num_speakers * num_queries)
    y, expected = inject(plain, weights)(x), loop(plain, weights, x)
    torch.testing.assert_close(y, expected)
    assert_same_gradients(y, expected, [x, *weights.values()])


@each_layer
def test_layer_without_injected_weights_is_the_plain_layer(name):
    plain, x = plain_layer(name), random_batch(name, 4)
    torch.testing.assert_close(inject(plain, None)(x), plain(x), rtol=0, atol=0)


@each_layer
def test_batch_that_speakers_do_not_divide_is_refused(name):
    plain = plain_layer(name)
    with pytest.raises(ValueError, match="Got a batch of 5 items for 3 speakers"):
        inject(plain, random_weights(plain, 3))(random_batch(name, 5))


@pytest.mark.parametrize("name", ["conv1d", "conv1d-pointwise", "conv2d"])
def test_convolution_of_one_item_without_a_batch_is_refused(name):
    plain = plain_layer(name)
    with pytest.raises(ValueError, match="the first one the batch"):
        inject(plain, random_weights(plain, 1))(random_batch(name, 1)[0])


def test_batch_norm_refuses_an_input_of_wrong_dimensions():
    plain = plain_layer("batch-norm-2d")
    with pytest.raises(ValueError, match="expected 4D input"):
        inject(plain, random_weights(plain, 1))(torch.randn(2, 4, 7).double())


@each_batch_norm
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_normalizes_the_whole_batch_and_scales_by_speaker(name, training):
    plain = plain_layer(name, BATCH_NORMS).train(training)
    weights = random_weights(plain, 3)
    x = random_batch(name, 6, BATCH_NORMS)
    y = inject(plain, weights)(x)
    one_zero = {"weight": torch.ones(4).double(), "bias": torch.zeros(4).double()}
    normalized = functional_call(copy.deepcopy(plain), one_zero, (x,))
    channel = (6, 4) + (1,) * (x.dim() - 2)
    scale, shift = (
        weights[key].repeat_interleave(2, dim=0).reshape(channel) for key in ("weight", "bias")
    )
    expected = normalized * scale + shift
    torch.testing.assert_close(y, expected)
    assert_same_gradients(y, expected, [x, *weights.values()])


@each_batch_norm
def test_batch_norm_tracks_statistics_as_the_plain_layer_does(name):
    plain = plain_layer(name, BATCH_NORMS).train()
    layer = inject(plain, random_weights(plain, 3))
    for _ in range(3):
        x = random_batch(name, 6, BATCH_NORMS).detach() * 3 + 1
        plain(x)
        layer(x)
    torch.testing.assert_close(dict(layer.named_buffers()), dict(plain.named_buffers()))
    assert len(dict(plain.named_buffers())) == (3 if plain.track_running_stats else 0)


@each_batch_norm
def test_batch_norm_tracks_nothing_in_evaluation(name):
    plain = plain_layer(name, BATCH_NORMS)
    layer = inject(plain, random_weights(plain, 3))
    layer(random_batch(name, 6, BATCH_NORMS))
    torch.testing.assert_close(dict(layer.named_buffers()), dict(plain.named_buffers()))


@pytest.mark.parametrize(
    "name", ["linear-frames", "conv1d", "conv1d-pointwise", "conv2d-groups", "conv2d-pointwise"]
)
def test_layer_takes_an_input_that_is_not_contiguous(name):
    plain = plain_layer(name)
    weights, x = random_weights(plain, 3), random_batch(name, 6)
    strided = x.transpose(1, -1).contiguous().transpose(1, -1)
    torch.testing.assert_close(inject(plain, weights)(strided), loop(plain, weights, x))
