"""Kernels: every layer for several speakers against a loop of merged models, outputs and gradients.

Properties hold for layers of all kinds and settings, memory layouts, precisions, factored weights
and empty batches.
"""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call

from vofp_plugin.nnet.factored import LowRankSum, ScaledChannels
from vofp_plugin.nnet.injection import inject_, injected, merge_, weight_specs

# Torch's note that an even kernel needs more padding on one side.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same'")
SIZE = 7  # frames, and bands of 2-D layers
few = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@st.composite
def convolutions(draw, dims):
    """A 1-D or 2-D convolution of any settings that an input of SIZE allows."""
    kind, groups = (nn.Conv1d, nn.Conv2d)[dims - 1], draw(st.sampled_from([1, 1, 2, 4]))
    sizes = st.tuples(*[st.integers(1, 3)] * dims)
    kernel, stride, dilation = draw(sizes), draw(sizes), draw(st.sampled_from([1, 2]))
    padding = draw(st.sampled_from(["same", "valid", 0, 1, 2]))
    return kind(
        4,
        groups * draw(st.integers(1, 2)),
        kernel,
        stride=1 if padding == "same" else stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
        bias=draw(st.booleans()),
        padding_mode=draw(st.sampled_from(["zeros", "zeros", "reflect", "circular"])),
    )


@st.composite
def layers_and_items(draw):
    """A layer in evaluation mode and the shape of an item."""
    kind = draw(st.sampled_from(["linear", "conv1d", "conv2d", "batch1d", "batch2d", "layer"]))
    frames = draw(st.sampled_from([(), (SIZE,), (SIZE, 2)]))
    if kind == "linear":
        return nn.Linear(4, 3, bias=draw(st.booleans())), (*frames, 4)
    if kind == "layer":
        return nn.LayerNorm(draw(st.sampled_from([(4,), (SIZE, 4)]))), (2, SIZE, 4)
    if kind == "batch1d":
        return _with_statistics(nn.BatchNorm1d(4, eps=0.01)), (4, *frames[:1])
    if kind == "batch2d":
        return _with_statistics(nn.BatchNorm2d(4)), (4, SIZE, 2)
    dims = int(kind[4])
    return draw(convolutions(dims)).eval(), (4, *[SIZE] * dims)


def _with_statistics(norm):
    norm.running_mean.normal_()
    norm.running_var.uniform_(0.5, 2.0)
    return norm.eval()


def laid_out(x, layout):
    """The same numbers elsewhere in memory."""
    if layout == "channels innermost":
        return x.movedim(1, -1).contiguous().movedim(-1, 1)
    if layout == "every other":
        return x.repeat_interleave(2, dim=-1)[..., ::2]
    return x.expand_as(x) if layout == "contiguous" else x.flip(0).contiguous().flip(0)


def made_weights(model, num_speakers, form):
    """Weights {name: (N, *shape)}; those of a matrix or a kernel in a form."""
    weights = {}
    for name, shape in weight_specs(model).items():
        shared = model.get_parameter(name).detach()
        if len(shape) == 1 or form == "full" or isinstance(model[0], nn.LayerNorm):
            weights[name] = torch.randn(num_speakers, *shape, dtype=shared.dtype)
        elif form == "channel":
            scale = torch.randn(num_speakers, shape[0], dtype=shared.dtype)
            weights[name] = ScaledChannels(shared, scale)
        else:
            left = torch.randn(num_speakers, shape[0], 2, dtype=shared.dtype)
            right = torch.randn(num_speakers, 2, shape[1:].numel(), dtype=shared.dtype)
            weights[name] = LowRankSum(shared, left, right)
    return weights


def leaves(weights):
    """The tensors that weights are made of, with gradients from now on."""
    parts = []
    for weight in weights.values():
        own = [weight] if isinstance(weight, torch.Tensor) else [*vars(weight).values()]
        parts += [x for x in own if isinstance(x, torch.Tensor) and not isinstance(x, nn.Parameter)]
    return [part.requires_grad_() for part in parts if part.is_leaf]


def loop_of_merged(model, weights, x):
    """Oracle: every speaker's items by a plain model of their own."""
    num_speakers = len(next(iter(weights.values())))
    answers = []
    for n, items in enumerate(x.unflatten(0, (num_speakers, -1)) if len(x) else []):
        own = {name: weight[n : n + 1] for name, weight in weights.items()}
        answers.append(merge_(copy.deepcopy(model), own)(items))
    return torch.cat(answers)


@few
@given(
    layers_and_items(),
    st.sampled_from([1, 2, 3]),
    st.sampled_from([1, 2, 5]),
    st.sampled_from(["contiguous", "channels innermost", "every other", "flipped"]),
    st.sampled_from(["full", "full", "channel", "low_rank"]),
)
def test_outputs_are_those_of_merged_models(layer_and_item, speakers, queries, layout, form):
    layer, item = layer_and_item
    model = inject_(nn.Sequential(layer).double(), ["0"])
    weights = made_weights(model, speakers, form)
    x = laid_out(torch.randn(speakers * queries, *item).double(), layout)
    with torch.no_grad(), injected(model, weights):
        y = model(x)
    with torch.no_grad():
        torch.testing.assert_close(y, loop_of_merged(model, weights, x))


@few
@given(
    layers_and_items(),
    st.sampled_from([1, 3]),
    st.sampled_from([1, 2]),
    st.sampled_from(["contiguous", "channels innermost"]),
    st.sampled_from(["full", "channel", "low_rank"]),
)
def test_gradients_are_those_of_full_weights(layer_and_item, speakers, queries, layout, form):
    """Of the plain layer's formula by `torch.func`, whose weights are tensors."""
    layer, item = layer_and_item
    model = inject_(nn.Sequential(layer).double(), ["0"])
    weights = made_weights(model, speakers, form)
    inputs = leaves(weights)
    x = laid_out(torch.randn(speakers * queries, *item).double(), layout).requires_grad_()
    with injected(model, weights):
        y = model(x)
    plain = copy.deepcopy(layer)
    expected = torch.cat(
        [
            functional_call(plain, {name[2:]: w[n] for name, w in weights.items()}, (items,))
            for n, items in enumerate(x.unflatten(0, (speakers, queries)))
        ]
    )
    direction = torch.randn_like(y)
    got = torch.autograd.grad(y, [x, *inputs], direction)
    torch.testing.assert_close(got, torch.autograd.grad(expected, [x, *inputs], direction))


PRECISIONS = {torch.float32: 1e-5, torch.bfloat16: 0.05}
KINDS = {
    "linear": (nn.Linear(16, 8), (6, 16)),
    "pointwise": (nn.Conv2d(16, 8, 1), (16, 1, 6)),
    "kernel": (nn.Conv1d(16, 8, 3), (16, 6)),
    "depthwise": (nn.Conv2d(16, 16, 3, groups=16), (16, 6, 6)),
    "norm": (nn.BatchNorm2d(16).eval(), (16, 6, 6)),
    "layer norm": (nn.LayerNorm(16), (6, 16)),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", PRECISIONS)
@pytest.mark.parametrize("autocast", [False, True])
def test_precision_is_that_of_the_plain_layer(kind, dtype, autocast):
    layer, item = KINDS[kind]
    own_dtype = torch.float32 if autocast else dtype
    model = inject_(nn.Sequential(copy.deepcopy(layer)).to(own_dtype), ["0"])
    weights = made_weights(model, 3, "full")
    x = torch.randn(6, *item).to(own_dtype)
    with torch.no_grad(), torch.autocast("cpu", dtype, enabled=autocast and dtype.itemsize == 2):
        with injected(model, weights):
            y = model(x)
        expected = loop_of_merged(model, weights, x)
    bound = PRECISIONS[dtype]
    torch.testing.assert_close(y, expected, rtol=bound, atol=bound * expected.abs().max().item())


@pytest.mark.parametrize("kind", KINDS)
def test_empty_batch_gives_an_empty_answer(kind):
    layer, item = KINDS[kind]
    model = inject_(nn.Sequential(copy.deepcopy(layer)), ["0"])
    expected = layer(torch.randn(0, *item))
    for num_speakers in (1, 3):
        with injected(model, made_weights(model, num_speakers, "full")):
            assert model(torch.randn(0, *item)).shape == expected.shape


def test_layout_of_the_output_is_that_of_the_plain_layer():
    for kind in ("pointwise", "depthwise", "norm"):
        layer, item = KINDS[kind]
        model = inject_(nn.Sequential(copy.deepcopy(layer)), ["0"])
        for layout in ("contiguous", "channels innermost"):
            x = laid_out(torch.randn(6, *item), layout)
            with torch.no_grad(), injected(model, made_weights(model, 3, "full")):
                assert model(x).stride() == layer(x).stride(), (kind, layout)


def test_known_statistics_that_were_swapped_since_are_the_ones_used():
    model = inject_(nn.Sequential(nn.BatchNorm1d(4)).eval(), ["0"])
    other = {"0.running_mean": torch.randn(4), "0.running_var": torch.rand(4) + 0.5}
    x, weights = torch.randn(6, 4), made_weights(model, 3, "full")
    with injected(model, weights):
        y = functional_call(model, other, (x,))
    model.load_state_dict(other, strict=False)
    torch.testing.assert_close(y, loop_of_merged(model, weights, x))


def test_factored_weights_are_taken_for_the_tensors_that_they_stand_for():
    shared = torch.randn(5, 3)
    scaled = ScaledChannels(shared, torch.randn(2, 5))
    thin = LowRankSum(shared, torch.randn(2, 5, 1), torch.randn(2, 1, 3))
    for weight in (scaled, thin):
        torch.testing.assert_close(torch.add(weight, 1), weight.dense() + 1)
        torch.testing.assert_close(weight[1], weight.dense()[1])
        both = torch.cat([weight, weight])
        assert type(both) is type(weight) and len(both) == 4
        torch.testing.assert_close(both.dense(), torch.cat([weight.dense()] * 2))
    assert torch.cat([scaled, thin]).shape == (4, 5, 3)
