"""Forms: sizes, starts, units, and which weights a number changes."""

import pytest
import torch
import torch.nn.functional as F

from vofp_plugin.nnet.forms import FORMS, Channel, Full, LowRank, fan_in

SHAPES = [(6,), (6, 4), (6, 4, 3), (6, 1, 5), (6, 2, 3, 5)]
each_form = pytest.mark.parametrize("form_class", FORMS.values())
each_shape = pytest.mark.parametrize("shape", SHAPES)


def make(form_class, shape, rank=2):
    return form_class(torch.Size(shape), rank)


@pytest.mark.parametrize("shape, inputs", [((6,), 1), ((6, 4), 4), ((6, 1, 5), 5), ((6, 2, 3), 6)])
def test_fan_in(shape, inputs):
    assert fan_in(torch.Size(shape)) == inputs


@pytest.mark.parametrize(
    "form_class, sizes",
    [(Full, [6, 24, 72, 30, 180]), (Channel, [6] * 5), (LowRank, [6, 20, 36, 22, 72])],
)
def test_sizes(form_class, sizes):
    assert [make(form_class, shape).size for shape in SHAPES] == sizes


@each_form
@each_shape
def test_tensor_has_the_shape_of_the_parameter_for_each_speaker(form_class, shape):
    form = make(form_class, shape)
    numbers = torch.randn(3, form.size)
    tensor = form.tensor(numbers, torch.randn(shape))
    assert tensor.shape == (3, *shape)
    assert form.is_free().shape == (form.size,)


@each_form
@each_shape
def test_numbers_of_one_speaker_change_the_tensor_of_that_speaker_alone(form_class, shape):
    form, shared = make(form_class, shape), torch.randn(shape)
    numbers = torch.randn(3, form.size)
    before, after = form.tensor(numbers, shared), numbers.clone()
    after[1] += 1
    changed = (form.tensor(after, shared) != before).flatten(1).any(dim=1)
    assert changed.tolist() == [False, True, False]


@each_form
@each_shape
def test_no_change_is_a_tensor_of_zeros(form_class, shape):
    form, shared = make(form_class, shape), torch.randn(shape)
    start = form.no_change()
    assert start.shape == (form.size,)
    assert not form.tensor(start.unsqueeze(0), shared).any()


@pytest.mark.parametrize("form_class", [Full, Channel])
@each_shape
def test_same_as_gives_the_shared_weights(form_class, shape):
    form, shared = make(form_class, shape), torch.randn(shape)
    start = form.same_as(shared)
    torch.testing.assert_close(form.tensor(start.unsqueeze(0), shared)[0], shared)


def test_low_rank_gives_random_weights_of_the_usual_size():
    form = make(LowRank, (256, 64, 4), rank=8)
    start = form.same_as(torch.randn(256, 64, 4))
    assert form.tensor(start.unsqueeze(0), None).std() == pytest.approx(1 / 16, rel=0.1)


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_low_rank_without_change_has_exactly_one_factor_zero(shape):
    form = make(LowRank, shape)
    left, right = form.no_change().split([shape[0] * 2, form.size - shape[0] * 2])
    assert not left.any() and right.all()
    assert form.is_free().tolist() == [False] * len(left) + [True] * len(right)


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_low_rank_without_change_gives_a_gradient_to_the_zero_factor(shape):
    form = make(LowRank, shape)
    numbers = form.no_change().unsqueeze(0).requires_grad_()
    (form.tensor(numbers, None) * torch.randn(shape)).sum().backward()
    assert numbers.grad[0, ~form.is_free()].all()


def test_low_rank_start_depends_on_the_generator_alone():
    form = make(LowRank, (6, 4))
    starts = [form.no_change(torch.Generator().manual_seed(s)) for s in (1, 1, 2)]
    assert torch.equal(starts[0], starts[1]) and not torch.equal(starts[0], starts[2])


@pytest.mark.parametrize("rank", [1, 3])
def test_low_rank_has_the_rank_asked_for(rank):
    form = make(LowRank, (10, 3, 4), rank)
    matrices = form.tensor(torch.randn(2, form.size), None).flatten(2)
    assert torch.linalg.matrix_rank(matrices).tolist() == [rank, rank]


@pytest.mark.parametrize("shape", SHAPES[1:])
def test_channel_scales_every_output_channel(shape):
    shared, numbers = torch.randn(shape), torch.randn(1, 6)
    tensor = make(Channel, shape).tensor(numbers, shared)[0]
    for channel in range(6):
        torch.testing.assert_close(tensor[channel], shared[channel] * numbers[0, channel])


@each_form
def test_vector_takes_the_numbers_as_they_are(form_class):
    numbers = torch.randn(2, 6)
    assert torch.equal(make(form_class, (6,)).tensor(numbers, torch.randn(6)), numbers)


@each_form
@each_shape
def test_form_says_whether_it_reads_the_shared_weights(form_class, shape):
    form, shared = make(form_class, shape), torch.randn(shape, requires_grad=True)
    tensor = form.tensor(torch.randn(1, form.size, requires_grad=True), shared)
    gradient = torch.autograd.grad(tensor.sum(), shared, allow_unused=True)[0]
    assert (gradient is not None) == form.reads_shared


@pytest.mark.parametrize("width", [8, 64, 512])
@pytest.mark.parametrize("name", FORMS)
def test_deviation_of_a_number_is_that_of_the_output(name, width):
    """Inputs and shared outputs have unit variance; low rank is at its start."""
    std, num_draws = 0.3, 40
    form, shared = make(FORMS[name], (width, width), rank=4), torch.randn(width, width)
    shared /= width**0.5
    numbers = std * torch.randn(num_draws, form.size)
    if name == "low_rank":
        start = torch.stack([form.no_change() for _ in range(num_draws)])
        numbers = torch.where(form.is_free(), start, numbers)
    change = form.tensor(numbers, shared)
    outputs = torch.stack([F.linear(torch.randn(20, width), matrix) for matrix in change])
    assert outputs.std() == pytest.approx(std, rel=0.15)
