"""Check of an injection: models of others run as merged ones would, or are refused by name."""

import copy
import threading

import pytest
import torch
import zoo
from torch import nn
from torch.utils.checkpoint import checkpoint

from vofp_plugin.nnet.check import check_injection
from vofp_plugin.nnet.injection import inject_, injected, merge_, weight_specs
from vofp_plugin.nnet.layers import WeightInjected

SIZE = 6


class Model(nn.Module):
    """Two layers, `first` and `second`, called by `run`."""

    def __init__(self, run, **layers):
        super().__init__()
        self.run = run
        self.first, self.second = nn.Linear(SIZE, SIZE), nn.Linear(SIZE, SIZE)
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, feats, lens):
        return self.run(self, feats, lens)


def time_first(model, feats, lens):
    return model.second(model.first(feats.transpose(0, 1)).tanh().transpose(0, 1))


def never_called(model, feats, lens):
    return model.second(feats @ model.first.weight.T)


def copies_stacked(model, feats, lens):
    forth, back = model.first(torch.cat([feats, feats.flip(1)])).tanh().chunk(2)
    return model.second(forth + back.flip(1))


def without_batch(model, feats, lens):
    return model.second(feats) + model.first(torch.arange(SIZE).float())


def frames_of_all_first(model, feats, lens):
    frames = model.first(feats.transpose(0, 1).flatten(0, 1)).tanh()
    return model.second(frames.view(-1, len(feats), SIZE).transpose(0, 1))


def valid_frames_alone(model, feats, lens):
    valid = torch.arange(feats.shape[1]) < (lens * feats.shape[1]).unsqueeze(1)
    y = torch.zeros_like(feats)
    y[valid] = model.first(feats[valid]).tanh()
    return model.second(y)


def sorted_by_length(model, feats, lens):
    order = lens.argsort(descending=True, stable=True)
    return model.second(model.first(feats[order]).tanh()[order.argsort()])


def rewritten(model, feats, lens):
    model.first.weight.data = model.first.weight.data.renorm(2, 0, 1.0)
    return model.second(model.first(feats))


def rewritten_in_place(model, feats, lens):
    model.first.weight.data.mul_(0.5)
    return model.second(model.first(feats))


def read_beside(model, feats, lens):
    return model.second(model.first(feats) + feats @ model.first.weight.T)


def in_a_thread(model, feats, lens):
    got = []
    thread = threading.Thread(target=lambda: got.append(model.first(feats)))
    thread.start()
    thread.join()
    return model.second(got[0])


REFUSED = {
    never_called: "is never called",
    copies_stacked: r"reads \(8, 9, 6\), where the items of a speaker are not one half",
    without_batch: r"reads \(6,\), which does not depend on the batch",
    frames_of_all_first: r"reads \(36, 6\), where",
    valid_frames_alone: r"reads \(\d+, 6\), where",
    sorted_by_length: r"reads \(4, 9, 6\), where",
    rewritten: "has its weight rewritten by the forward pass",
    rewritten_in_place: "has its weight rewritten by the forward pass",
    read_beside: "has its weight read elsewhere than in its forward pass",
    in_a_thread: "has its weight read elsewhere than in its forward pass",
}
each_refused = pytest.mark.parametrize("run", REFUSED, ids=lambda run: run.__name__)


def random_weights(model, num_speakers):
    return {
        name: model.get_parameter(name) + 0.1 * torch.randn(num_speakers, *shape)
        for name, shape in weight_specs(model).items()
    }


@torch.no_grad()
def run_both_ways(model, feats, lens, num_speakers):
    """Answers with injected weights, and those of one merged model after another."""
    weights, answers = random_weights(model, num_speakers), []
    for n in range(num_speakers):
        merged = merge_(copy.deepcopy(model), {name: w[n : n + 1] for name, w in weights.items()})
        torch.manual_seed(0)  # some models add noise
        answers.append(merged(feats, lens).chunk(num_speakers)[n])
    with injected(model, weights):
        torch.manual_seed(0)
        return model(feats, lens), torch.cat(answers)


@pytest.fixture
def batch():
    return torch.randn(6, 9, SIZE), torch.ones(6)


@pytest.mark.parametrize("name", zoo.MODELS)
def test_model_of_others_runs_as_merged_models_and_the_table_says_so(name):
    model, _ = zoo.make_injected(name)
    got, expected = run_both_ways(model, *zoo.batch(6), num_speakers=3)
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)
    assert zoo.row(name) in zoo.TABLE.read_text().splitlines(), "write it by python tests/zoo.py"


def test_table_has_no_model_more():
    assert zoo.TABLE.read_text().count("\n| ") == len(zoo.MODELS) + 2


@each_refused
def test_layer_is_refused_by_name_and_reason(run, batch):
    model = inject_(Model(run), ["*"])
    with pytest.raises(ValueError, match=f"'first' {REFUSED[run]}") as error:
        check_injection(model, *batch)
    assert "'second'" not in str(error.value)
    assert isinstance(model.first, WeightInjected), "a refused call changes nothing"


@each_refused
def test_layer_is_passed_over_if_asked_to(run, batch):
    model = inject_(Model(run), ["*"])
    assert [*check_injection(model, *batch, skip=True)] == ["first"]
    assert type(model.first) is nn.Linear and isinstance(model.second, WeightInjected)


def test_batch_in_another_dimension_is_found(batch):
    model = inject_(Model(time_first), ["*"])
    got, expected = run_both_ways(model, *batch, num_speakers=3)
    assert (got - expected).abs().max() > 1e-3, "speakers would be mixed"
    assert check_injection(model, *batch) == {}
    assert (model.first.batch_dim, model.second.batch_dim) == (1, 0)
    torch.testing.assert_close(*run_both_ways(model, *batch, num_speakers=3))
    merged = merge_(model, {name: w[:1] for name, w in random_weights(model, 1).items()})
    assert not any("batch_dim" in vars(layer) for layer in merged.modules())


@pytest.mark.parametrize("num_items", [1, 2, 3, 5])
def test_few_items_are_enough(num_items, batch):
    model = inject_(Model(time_first), ["*"])
    check_injection(model, batch[0][:num_items])
    assert model.first.batch_dim == 1
    with pytest.raises(ValueError, match="'first' is never called"):
        check_injection(inject_(Model(never_called), ["*"]), batch[0][:num_items])


def test_checking_leaves_model_batch_and_generator_as_they_were(batch):
    norm, dropout = nn.BatchNorm1d(9), nn.Dropout()
    model = Model(lambda m, x, lens: m.norm(m.dropout(m.first(x))), norm=norm, dropout=dropout)
    inject_(model.train(), ["first", "norm"])
    feats, lens = batch
    before = copy.deepcopy((model.state_dict(), feats, lens, torch.get_rng_state()))
    check_injection(model, feats, lens)
    torch.testing.assert_close(
        (model.state_dict(), feats, lens, torch.get_rng_state()), before, rtol=0, atol=0
    )
    assert all(module.training for module in model.modules())
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_answers_without_the_batch_first_are_refused(batch):
    model = inject_(Model(lambda m, x, lens: m.first(x).transpose(0, 1)), ["first"])
    with pytest.raises(ValueError, match=r"answers 4 items with \(9, 4, 6\); expected one tensor"):
        check_injection(model, *batch)


@pytest.mark.parametrize("use_reentrant", [True, False])
def test_recomputed_activations_are_refused(use_reentrant, batch):
    def run(model, feats, lens):
        return checkpoint(model.first, feats, use_reentrant=use_reentrant)

    model = inject_(Model(run), ["first"])
    feats = batch[0].requires_grad_()
    with injected(model, random_weights(model, 2)):
        loss = model(feats, batch[1]).sum()
    with pytest.raises(RuntimeError, match="switch checkpointing of activations off"):
        loss.backward()
