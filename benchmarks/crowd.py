"""A crowd: one batch of several speakers against the same batch of the shared model."""

import copy

import torch
from interleaved import interleaved
from subjects import SUBJECTS
from torch.func import functional_call, stack_module_state, vmap

from vofp_plugin.nnet.factored import LowRankSum, ScaledChannels
from vofp_plugin.nnet.injection import inject_, injected, merge_, weight_specs

RANK = 4


def weights_of(model, num_speakers, form="full"):
    """Weights {name: (N, *shape)} near the shared ones; matrices and kernels in a form."""
    weights = {}
    for name, shape in weight_specs(model).items():
        shared = model.get_parameter(name).detach()
        if len(shape) == 1 or form == "full":
            weights[name] = shared + 0.01 * torch.randn(num_speakers, *shape)
        elif form == "channel":
            weights[name] = ScaledChannels(shared, 1 + 0.01 * torch.randn(num_speakers, shape[0]))
        else:
            left = 0.01 * torch.randn(num_speakers, shape[0], RANK)
            right = torch.randn(num_speakers, RANK, shape[1:].numel())
            weights[name] = LowRankSum(shared, left, right)
    return weights


@torch.no_grad()
def inference(name, layers, numbers=(1, 16, 64), form="full", foils=False, items=None, seconds=3.0):
    """Ratios of answering a batch of each number of speakers, {candidate: Ratio}."""
    subject = SUBJECTS[name]
    plain, x = subject.make().eval(), subject.batch(items)
    model = inject_(copy.deepcopy(plain), subject.targets(layers), skip=True)
    numbers = [n for n in numbers if n <= len(x[0])]
    sets = {n: weights_of(model, n, form) for n in numbers}
    candidates = {"shared": lambda: plain(*x), "shared again (A/A)": _again(plain, x)}
    candidates |= {f"N = {n}": _crowd(model, x, weights) for n, weights in sets.items()}
    if foils:
        last = numbers[-1]
        merged = [
            merge_(copy.deepcopy(model), {k: w[n : n + 1] for k, w in sets[last].items()}).eval()
            for n in range(last)
        ]
        candidates[f"vmap, N = {last}"] = _vmap(plain, merged, x)
        candidates[f"loop of merged, N = {last}"] = _loop(merged, x)
    return interleaved(candidates, seconds)


@torch.no_grad()
def mixed_batch(num_speakers=16, seconds=3.0):
    """Ratios of PEFT's batch of mixed adapters and of ours, of the same layers and rank."""
    from peft import LoraConfig, get_peft_model

    subject = SUBJECTS["DSCNN"]
    plain, x = subject.make().eval(), subject.batch()
    model = inject_(copy.deepcopy(plain), ["*.pointwise.conv", "classifier"])
    weights = weights_of(model, num_speakers, "low_rank")
    config = LoraConfig(r=RANK, target_modules=r".*\.pointwise\.conv|classifier")
    names = [f"speaker{n}" for n in range(num_speakers)]
    adapted = get_peft_model(copy.deepcopy(plain), config, adapter_name=names[0])
    for name in names[1:]:
        adapted.add_adapter(name, config)
    adapted.eval()
    asked = [name for name in names for _ in range(subject.items // num_speakers)]
    candidates = {
        "shared": lambda: plain(*x),
        "shared again (A/A)": _again(plain, x),
        f"N = {num_speakers}": _crowd(model, x, weights),
        f"PEFT, N = {num_speakers}": lambda: adapted(*x, adapter_names=asked),
    }
    return interleaved(candidates, seconds)


def training(name, layers, num_speakers=24, form="full", seconds=3.0):
    """Ratios of a forward and a backward pass in training mode, {candidate: Ratio}."""
    subject = SUBJECTS[name]
    plain, x = subject.make().train(), subject.batch(2 * num_speakers)
    model = inject_(copy.deepcopy(plain), subject.targets(layers), skip=True)
    weights = weights_of(model, num_speakers, form)
    for weight in weights.values():
        for part in [weight] if isinstance(weight, torch.Tensor) else vars(weight).values():
            if isinstance(part, torch.Tensor) and not isinstance(part, torch.nn.Parameter):
                part.requires_grad_()
    crowd = _crowd(model, x, weights)
    candidates = {
        "shared": lambda: plain(*x).square().mean().backward(),
        "shared again (A/A)": _then_backward(_again(plain, x)),
        f"N = {num_speakers}": _then_backward(crowd),
    }
    return interleaved(candidates, seconds)


def _again(plain, x):
    again = copy.deepcopy(plain)
    return lambda: again(*x)


def _then_backward(run):
    return lambda: run().square().mean().backward()


def _crowd(model, x, weights):
    def run():
        with injected(model, weights):
            return model(*x)

    return run


def _loop(merged, x):
    parts = list(zip(*(part.chunk(len(merged)) for part in x), strict=True))
    return lambda: torch.cat([m(*p) for m, p in zip(merged, parts, strict=True)])


def _vmap(plain, merged, x):
    parameters, buffers = stack_module_state(merged)
    own = [part.unflatten(0, (len(merged), -1)) for part in x]

    def one(parameters, buffers, *x):
        return functional_call(plain, (parameters, buffers), x)

    return lambda: vmap(one)(parameters, buffers, *own)
