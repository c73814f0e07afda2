"""Check of an injection: are the layers of a model given each speaker's items with their weights?

Models may keep the batch elsewhere than in dimension 0, stack copies of it, read the weight of a
layer without calling it, or write to it. Forward passes of a few items show all of that.
"""

import torch
from torch.func import functional_call

from vofp_plugin.nnet.injection import eject_, injected, refusal, weight_specs
from vofp_plugin.nnet.layers import WeightInjected
from vofp_plugin.utils.twin import twin

NUM_ITEMS = 4  # of two speakers


@torch.no_grad()
def check_injection(model, feats, lens=None, skip=False):
    """Refuses the weight-injected layers of `model` that would mix speakers or miss their weights.

    First, two batches of two speakers that differ in the second one's items: what a layer reads
    must differ in just the second half of its batch dimension, which is told to the layer where
    it is not the first. Then random weights: the answers must be those of a model for each
    speaker that has them as its own. All of it on a twin of the model, in evaluation mode:
    parameters, running statistics, modes and random generators stay as they were.

    Arguments
    ---------
    model : torch.nn.Module
        A model that `inject_` has changed, called as `model(feats, lens)`.
    feats : torch.Tensor
        Features of some items, (B, T, F), of which up to four are used.
    lens : torch.Tensor
        Their relative lengths, (B,); None stands for ones.
    skip : bool
        Whether to turn the layers that would be refused back into plain ones.

    Returns
    -------
    dict
        {layer name: reason} of the layers that were turned back; empty unless `skip`.

    Raises
    ------
    ValueError
        If layers cannot be injected, by name and reason, or the answers do not hold the batch in
        dimension 0.

    Example
    -------
    >>> from vofp_plugin.nnet.injection import inject_
    >>> class Reads(torch.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.called, self.read = torch.nn.Linear(5, 3), torch.nn.Linear(3, 2)
    ...     def forward(self, feats, lens):
    ...         return self.called(feats).mean(1) @ self.read.weight.T
    >>> model = inject_(Reads(), ["*"])
    >>> check_injection(model, torch.rand(4, 7, 5), skip=True)
    {'read': 'is never called: the model reads its weight, or does without'}
    """
    feats, lens = _probe(feats, lens)
    devices = range(torch.cuda.device_count()) if feats.is_cuda else []
    with torch.random.fork_rng(devices):
        dims, faults = _find_batch_dims(model, feats, lens)
        if faults and not skip:
            raise ValueError(refusal(faults))
        sound = _tell_batch_dims(twin(model), dims, faults).eval()
        missed = _missed(sound, feats, lens)
        if missed and not skip:
            raise ValueError(refusal(missed))
    _tell_batch_dims(model, dims, {**faults, **missed})
    return {**faults, **missed}


def _probe(feats, lens):
    """Four items, the first of them shorter: a layer may be given what valid frames there are."""
    lens = feats.new_ones(len(feats)) if lens is None else lens
    index = torch.arange(NUM_ITEMS, device=feats.device) % len(feats)
    lens = lens[index].clone()
    lens[0] *= 0.75
    return feats[index], lens


def _find_batch_dims(model, feats, lens):
    """Batch dimensions of the layers, {name: dimension}, and faults, {name: reason}."""
    other = feats.clone()
    second = other[NUM_ITEMS // 2 :]
    second.copy_(feats.mean() + feats.std() * torch.randn_like(second))
    model = twin(model).eval()
    reads, rewritten = _reads(model, feats, lens)
    other_reads, _ = _reads(model, other, lens)
    dims, faults = {}, dict.fromkeys(rewritten, "has its weight rewritten by the forward pass")
    for name, layer in _layers(model).items():
        if name not in faults:
            dim = _batch_dim(layer, reads[name], other_reads[name])
            (faults if isinstance(dim, str) else dims)[name] = dim
    return dims, faults


def _reads(model, feats, lens):
    """What each layer reads, {name: [input of each call]}, and the layers that are rewritten."""
    layers = _layers(model)
    reads = {name: [] for name in layers}
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, args, kwargs, name=name: reads[name].append([*args, *kwargs.values()][0] + 0),
            with_kwargs=True,
        )
        for name, layer in layers.items()
    ]
    # In copies of all tensors, since forward passes may write to them.
    state = {name: tensor.clone() for name, tensor in _tensors(model).items()}
    places = {name: tensor.data_ptr() for name, tensor in state.items()}
    torch.manual_seed(0)
    functional_call(model, state, (feats, lens))
    for hook in hooks:
        hook.remove()
    rewritten = {
        name.rpartition(".")[0]
        for name in weight_specs(model)
        if state[name].data_ptr() != places[name]
        or not torch.equal(state[name], model.get_parameter(name))
    }
    return reads, rewritten


def _batch_dim(layer, inputs, other_inputs):
    """The dimension of `layer`'s inputs that holds the batch, or a sentence why there is none."""
    if not inputs:
        return "is never called: the model reads its weight, or does without"
    if [x.shape for x in inputs] != [x.shape for x in other_inputs]:
        return "is called otherwise for other items"
    pairs = list(zip(inputs, other_inputs, strict=True))
    changed = [(x - y).abs() > 1e-5 * x.abs().max() for x, y in pairs]
    changed = [mask for mask in changed if mask.any()] or changed[:1]
    # A first state, which is the same for all items, says nothing; but all must have a batch.
    dims = [
        dim
        for dim in layer.batch_dims(changed[0])
        if all(dim in layer.batch_dims(x) and x.shape[dim] % 2 == 0 for x in inputs)
        and all(_is_second_half(mask, dim) for mask in changed)
    ]
    if dims:
        return dims[0]
    shape = tuple(changed[0].shape)
    if not changed[0].any():
        return f"reads {shape}, which does not depend on the batch"
    return f"reads {shape}, where the items of a speaker are not one half of dimension 0"


def _is_second_half(mask, dim):
    """Whether `mask` is set in the second half of dimension `dim`, and nowhere in the first."""
    first, second = mask.chunk(2, dim)
    return not first.any() and bool(second.any())


def _missed(model, feats, lens):
    """Layers with whose weights the answers are not those of merged models, {name: reason}."""
    layers = _layers(model)
    shared = {name: model.get_parameter(name).expand(2, *shape) for name, shape in _specs(model)}
    weights = {name: _moved(weight) for name, weight in shared.items()}
    if not layers or _answers_as_merged(model, weights, feats, lens):
        return {}
    missed = {}
    for layer in layers:
        own = {name: weights[name] for name in weights if name.rpartition(".")[0] == layer}
        if not _answers_as_merged(model, {**shared, **own}, feats, lens):
            missed[layer] = "has its weight read elsewhere than in its forward pass"
    return missed or dict.fromkeys(layers, "answers otherwise than in a merged model")


def _specs(model):
    return weight_specs(model).items()


def _moved(weight):
    """Weights (N, *shape) away from the shared ones by a tenth of their size."""
    return weight + 0.1 * weight.square().mean().sqrt().clamp(min=0.1) * torch.randn_like(weight)


def _answers_as_merged(model, weights, feats, lens):
    """Whether two speakers' answers with injected `weights` are those of a model for each."""
    shared = _answer(model, {}, feats, lens)
    with injected(model, weights):
        together = _answer(model, {}, feats, lens)
    alone = [
        _answer(model, {name: weight[n] for name, weight in weights.items()}, feats, lens)
        for n in range(2)
    ]
    half = NUM_ITEMS // 2
    merged = torch.cat([alone[0][:half], alone[1][half:]])
    effect, size = (merged - shared).abs().max(), shared.abs().max()
    return bool((together - merged).abs().max() <= 1e-3 * effect + 1e-5 * size)


def _answer(model, weights, feats, lens):
    state = {name: tensor.clone() for name, tensor in _tensors(model).items()}
    torch.manual_seed(0)
    answer = functional_call(model, {**state, **weights}, (feats, lens))
    if not isinstance(answer, torch.Tensor) or len(answer) != len(feats):
        got = tuple(answer.shape) if isinstance(answer, torch.Tensor) else type(answer).__name__
        raise ValueError(
            f"The main model answers {len(feats)} items with {got}; expected one tensor with the "
            "batch in dimension 0."
        )
    return answer


def _tell_batch_dims(model, dims, faults):
    """Sets the batch dimensions of layers and ejects those with `faults`, in place."""
    for name, layer in _layers(model).items():
        if name in faults:
            eject_(layer)
        elif dims[name] != layer.batch_dim:
            layer.batch_dim = dims[name]
    return model


def _layers(model):
    return {n: layer for n, layer in model.named_modules() if isinstance(layer, WeightInjected)}


def _tensors(model):
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
