"""Mutated profiles: refused by a ValueError, whatever was altered, and never read."""

import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vofp_plugin.dataio.agreement import BLANK_VOICE
from vofp_plugin.dataio.quality import Quality
from vofp_plugin.inference.identity import identity
from vofp_plugin.inference.profile import Profile, profile_of_bytes
from vofp_plugin.inference.profile_file import HIGHEST, pack, tensors_of, unpack
from vofp_plugin.lobes.enrollment import EnrollmentEncoder, Summary

NUMBERS = torch.linspace(-3, 3, 8).unsqueeze(0)


class Embedding(nn.Module):
    """An embedding model that costs nothing."""

    size = 3

    def forward(self, x, lens=None):
        return x.mean(dim=1, keepdim=True)


class Model(nn.Module):
    """What a profile needs of a model to be read."""

    def __init__(self):
        super().__init__()
        self.encoder = EnrollmentEncoder(Embedding(), code_size=8)

    def summarize(self, enrollment):
        return self.encoder.summarize(enrollment)


@pytest.fixture(scope="module")
def model():
    return Model()


@pytest.fixture(scope="module")
def profile(model):
    voice = BLANK_VOICE._replace(mean=torch.rand(12), pitch=torch.tensor(7.0))
    summary = Summary(NUMBERS, torch.tensor([[2.0]]))
    return Profile(identity(model), "0" * 24, summary, [Quality(0.9), Quality(1.0)], [voice] * 2)


@pytest.fixture(scope="module")
def data(profile):
    return profile.to_bytes()


def loads(data, model):
    """Whether a profile is read of bytes; any error but ValueError fails the test."""
    try:
        profile_of_bytes(data, model)
    except ValueError:
        return False
    return True


def mutated(data, generator):
    """Bytes with a flipped bit, another, lacking or repeated byte, or a part moved elsewhere."""
    place, other = (generator.randrange(len(data)) for _ in range(2))
    kind = generator.randrange(5)
    if kind == 0:
        middle = bytes([data[place] ^ 1 << generator.randrange(8)])
        return data[:place] + middle + data[place + 1 :]
    if kind == 1:
        return data[:place] + generator.choice(b' 0159eE.-+,[]{}"').to_bytes() + data[place + 1 :]
    if kind == 2:
        return data[:place] + data[place + generator.randrange(1, 9) :]
    if kind == 3:
        return data[:place] + data[place : place + 9] + data[place:]
    return data[:place] + data[other : other + 20] + data[place + 20 :]


def test_whole_profile_is_read(data, profile, model):
    assert torch.equal(profile_of_bytes(data, model).summary.values, profile.summary.values)


def test_10000_mutated_profiles_are_refused(data, model):
    generator = random.Random(0)
    changed = {mutated(data, generator) for _ in range(12000)} - {data}
    assert len(changed) > 10000
    assert not any(loads(each, model) for each in changed)


def test_every_altered_byte_is_noticed(data, model):
    for place in range(len(data)):
        assert not loads(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], model)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(draw=st.data())
def test_content_of_any_kind_behind_a_fitting_checksum_is_no_other_error(data, model, draw):
    """As somebody would write it who knows how the checksum is made."""
    content = unpack(data)
    for _ in range(draw.draw(st.integers(1, 3))):
        key = draw.draw(st.sampled_from(sorted(content)))
        if isinstance(content[key], dict) and content[key] and draw.draw(st.booleans()):
            content[key] = {**content[key], draw.draw(st.sampled_from(sorted(content[key]))): 1}
        else:
            content[key] = draw.draw(JSON)
    loads(pack(content), model)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(data=st.binary(max_size=200))
def test_any_bytes_are_refused(data, model):
    assert not loads(data, model)


@settings(max_examples=100, deadline=None, database=None, derandomize=True)
@given(st.lists(st.floats(width=32), min_size=8, max_size=8))
def test_numbers_that_are_read_are_bounded(values):
    like = Summary(NUMBERS, torch.ones(1, 1))
    try:
        read = tensors_of({"values": [values], "precisions": [[1.0]]}, like)
    except ValueError:
        assert not all(abs(value) <= HIGHEST for value in values)
    else:
        assert read.values.abs().max() <= HIGHEST
