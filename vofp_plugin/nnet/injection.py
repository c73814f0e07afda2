"""Injection: turn layers of an untouched model into weight-injected ones, and run them.

The contract between a main model and a hyper-personalizer is `weight_specs`: an ordered
`{parameter name: shape}`. Nothing is silent: what does not fit is an error. What only a forward
pass can show is asked by `vofp_plugin.nnet.check.check_injection`.
"""

from contextlib import contextmanager
from fnmatch import fnmatchcase

import torch
from torch import nn

from vofp_plugin.nnet.layers import WEIGHT_INJECTED, WEIGHTS, WeightInjected
from vofp_plugin.nnet.speaker_weights import SpeakerWeights, fold

# Their fast path reads the parameters of their layers and never calls them.
FUSED = (nn.TransformerEncoderLayer, nn.MultiheadAttention)


def inject_(model, targets, skip=False):
    """Turns the layers of `model` that `targets` match into weight-injected ones, in place.

    Parameters, their identity and the state-dict keys stay the same, and so does the output
    until `injected` gives weights. A call that fails changes nothing.

    Arguments
    ---------
    model : torch.nn.Module
        The main model.
    targets : iterable of str or dict
        fnmatch patterns on module names. Containers and layers without parameters of their own
        are passed over, but a pattern must match a layer. A dict may exclude: the last pattern
        that matches a layer decides, and leaves it out where its value is None.
    skip : bool
        Whether to pass over layers that cannot be injected, as for a pattern over a whole model.

    Returns
    -------
    torch.nn.Module
        `model`.

    Raises
    ------
    ValueError
        If a pattern matches no injectable layer.
    TypeError
        If a layer to be injected is one of `unfit_layers`.

    Example
    -------
    >>> from torch import nn
    >>> model = nn.ModuleDict({"emb": nn.Linear(3, 4), "gru": nn.GRU(4, 4), "out": nn.Linear(4, 2)})
    >>> weight_specs(inject_(model, {"*": "full", "emb": None}, skip=True))
    {'out.weight': torch.Size([2, 4]), 'out.bias': torch.Size([2])}
    """
    names = [name for name, layer in model.named_modules() if _own_parameters(layer)]
    excluding = {p for p in targets if isinstance(targets, dict) and targets[p] is None}
    unfit = unfit_layers(model)
    for pattern in targets:
        matched = {name for name in names if fnmatchcase(name, pattern)}
        if not matched or (skip and pattern not in excluding and matched <= unfit.keys()):
            exist = [name for name in names if name not in unfit]
            raise ValueError(
                f"Target {pattern!r} matches no injectable layer. Layers that exist: "
                f"{', '.join(exist) or 'none'}."
            )
    chosen = [n for n in names if last_match(targets, n) not in {None, *excluding}]
    if not skip and unfit.keys() & set(chosen):
        raise TypeError(refusal({name: unfit[name] for name in chosen if name in unfit}))
    for name in chosen:
        if name not in unfit:
            _inject_layer(model.get_submodule(name))
    return model


def last_match(targets, name):
    """Gives the last of the patterns `targets` that matches a layer's name, which decides; or None.

    Example
    -------
    >>> last_match({"*": "channel", "head.*": "full"}, "head.0")
    'head.*'
    """
    return next((p for p in reversed([*targets]) if fnmatchcase(name, p)), None)


def unfit_layers(model):
    """Says which layers of `model` with parameters cannot be injected, and why.

    Arguments
    ---------
    model : torch.nn.Module

    Returns
    -------
    dict
        {layer name: reason}.

    Example
    -------
    >>> from torch import nn
    >>> unfit_layers(nn.Sequential(nn.Linear(3, 4), nn.PReLU()))
    {'1': 'is a PReLU'}
    """
    fused, owners = _fused(model), _owners(model)
    unfit = {}
    for name, layer in model.named_modules():
        keys = _own_parameters(layer)
        # Weight norm and spectral norm of old have other parameters, of which `weight` is made.
        tied = {owner for key in keys for owner in owners[id(getattr(layer, key))]} - {id(layer)}
        if keys and type(layer) not in WEIGHT_INJECTED and not isinstance(layer, WeightInjected):
            unfit[name] = f"is a {type(layer).__name__}"
        elif not {*keys} <= {"weight", "bias"}:
            unfit[name] = f"is a {type(layer).__name__} made of {', '.join(keys)}"
        elif keys and name in fused:
            unfit[name] = f"is inside of a {fused[name]}, which reads its parameters directly"
        elif tied:
            others = [n for n, m in model.named_modules() if id(m) in tied]
            unfit[name] = f"is tied to {', '.join(others)}"
    return unfit


def eject_(model):
    """Turns every weight-injected layer of `model` back into the plain torch layer, in place.

    Arguments
    ---------
    model : torch.nn.Module
        A model that `inject_` has changed.

    Returns
    -------
    torch.nn.Module
        `model`.

    Example
    -------
    >>> from torch import nn
    >>> type(eject_(inject_(nn.Sequential(nn.Linear(3, 4)), ["0"]))[0]).__name__
    'Linear'
    """
    plain = {injected: plain for plain, injected in WEIGHT_INJECTED.items()}
    for layer in model.modules():
        if isinstance(layer, WeightInjected):
            layer.__class__ = plain[type(layer)]
            vars(layer).pop("batch_dim", None)
    return model


@contextmanager
def unchanged_on_error(model):
    """Undoes `inject_` and `eject_` of `model` where the `with` block raises.

    Arguments
    ---------
    model : torch.nn.Module

    Example
    -------
    >>> from torch import nn
    >>> model = nn.Sequential(nn.Linear(3, 4))
    >>> try:
    ...     with unchanged_on_error(model):
    ...         raise ValueError(type(inject_(model, ["0"])[0]).__name__)
    ... except ValueError as error:
    ...     print(error, type(model[0]).__name__)
    WeightInjectedLinear Linear
    """
    kinds = {layer: type(layer) for layer in model.modules()}
    try:
        yield
    except BaseException:
        for layer, kind in kinds.items():
            layer.__class__ = kind
            if not issubclass(kind, WeightInjected):
                vars(layer).pop("batch_dim", None)
        raise


def weight_specs(model):
    """Names and shapes of the weights that `injected` expects, in the model's order.

    Arguments
    ---------
    model : torch.nn.Module
        A model that `inject_` has changed.

    Returns
    -------
    dict
        {parameter name: torch.Size}.

    Example
    -------
    >>> from torch import nn
    >>> weight_specs(inject_(nn.Sequential(nn.BatchNorm1d(5)), ["*"]))
    {'0.weight': torch.Size([5]), '0.bias': torch.Size([5])}
    """
    return _specs(_injected_layers(model))


@contextmanager
def injected(model, weights):
    """Runs the weight-injected layers of `model` with `weights` inside a `with` block.

    Other threads do not see these weights, and run the shared ones or their own. Of blocks inside
    each other the innermost counts.

    Arguments
    ---------
    model : torch.nn.Module
        A model that `inject_` has changed.
    weights : dict
        {parameter name: (N, *shape)}, just the names of `weight_specs(model)`. The model's
        input must then hold N * Q items, Q for each speaker, speaker after speaker.

    Raises
    ------
    ValueError
        If names, shapes or numbers of speakers differ from what the model expects.

    Example
    -------
    >>> import torch
    >>> model = inject_(torch.nn.Sequential(torch.nn.Linear(3, 2)), ["0"])
    >>> with injected(model, {"0.weight": torch.zeros(4, 2, 3), "0.bias": torch.ones(4, 2)}):
    ...     model(torch.rand(8, 3)).sum().item()
    16.0
    """
    layers = _injected_layers(model)
    _check_weights(_specs(layers), weights)
    by_layer = {
        layer: SpeakerWeights.of(weights[prefix + "weight"], weights.get(prefix + "bias"))
        for prefix, layer in layers.items()
    }
    token = WEIGHTS.set({**WEIGHTS.get(), **fold(by_layer)})
    try:
        yield model
    finally:
        WEIGHTS.reset(token)


def merge_(model, weights):
    """Writes one speaker's weights into `model`, whose layers become plain again, in place.

    Arguments
    ---------
    model : torch.nn.Module
        A model that `inject_` has changed.
    weights : dict
        {parameter name: (1, *shape)}, just the names of `weight_specs(model)`.

    Returns
    -------
    torch.nn.Module
        `model`, without anything of this plugin in it.

    Raises
    ------
    ValueError
        If the weights are for more than one speaker or do not fit the model.

    Example
    -------
    >>> import torch
    >>> model = inject_(torch.nn.Sequential(torch.nn.Linear(3, 2)), ["0"])
    >>> merge_(model, {"0.weight": torch.zeros(1, 2, 3), "0.bias": torch.ones(1, 2)})[0].bias.data
    tensor([1., 1.])
    """
    return eject_(write_(model, weights, weight_specs(model)))


def write_(model, weights, specs):
    """Writes one speaker's weights into the parameters of a model, in place, and returns it.

    Arguments
    ---------
    model : torch.nn.Module
        Any model that has parameters of these names.
    weights : dict
        {parameter name: (1, *shape)}.
    specs : dict
        {parameter name: shape} of just the weights that are expected.

    Returns
    -------
    torch.nn.Module
        `model`.

    Raises
    ------
    ValueError
        If the weights are for more than one speaker or do not fit `specs`.

    Example
    -------
    >>> import torch
    >>> model = torch.nn.Linear(3, 2)
    >>> specs = {"bias": torch.Size([2])}
    >>> write_(model, {"bias": torch.ones(1, 2)}, specs).bias.tolist()
    [1.0, 1.0]
    """
    _check_weights(specs, weights)
    num_speakers = len(next(iter(weights.values())))
    if num_speakers != 1:
        raise ValueError(f"Got weights of {num_speakers} speakers to merge; expected one.")
    # By parameter and not by state dict, where a layer of two names has two entries. Torch counts
    # the change, so that `identity` sees it.
    with torch.no_grad():
        for name, weight in weights.items():
            model.get_parameter(name).copy_(weight[0])
    return model


def _own_parameters(layer):
    return [key for key, parameter in layer._parameters.items() if parameter is not None]


def _injected_layers(model):
    """The weight-injected layers of `model`, {prefix of their parameters: layer}.

    It runs for every batch, and takes a fifth of the time of `named_modules`.
    """
    layers, seen, waiting = {}, set(), [("", model)]
    while waiting:
        prefix, module = waiting.pop()
        if id(module) not in seen:
            seen.add(id(module))
            if isinstance(module, WeightInjected):
                layers[prefix] = module
            children = [
                (prefix + name + ".", m) for name, m in module._modules.items() if m is not None
            ]
            waiting += children[::-1]
    return layers


def _specs(layers):
    return {
        prefix + key: layer._parameters[key].shape
        for prefix, layer in layers.items()
        for key in _own_parameters(layer)
    }


def _inject_layer(layer):
    if not isinstance(layer, WeightInjected):
        layer.__class__ = WEIGHT_INJECTED[type(layer)]


def refusal(reasons):
    """Says in one message which layers cannot be injected, {layer name: reason}.

    Example
    -------
    >>> refusal({"gru": "is a GRU"})[:45]
    "Layers that cannot be injected: 'gru' is a GR"
    """
    layers = "; ".join(f"{name!r} {why}" for name, why in reasons.items())
    return (
        f"Layers that cannot be injected: {layers}. Injectable are exactly: "
        f"{', '.join(kind.__name__ for kind in WEIGHT_INJECTED)}, with weight and bias alone, that "
        "hold the batch speaker after speaker. Leave others out of the targets, by a pattern of "
        "null behind those that match them."
    )


def _fused(model):
    """Layers inside of modules that may pass their forward by, {layer name: type of module}."""
    return {
        f"{name}.{child}" if name else child: type(module).__name__
        for name, module in model.named_modules()
        if isinstance(module, FUSED)
        for child, _ in module.named_modules()
    }


def _owners(model):
    """Layers that hold each parameter, {id of parameter: {id of layer}}."""
    owners = {}
    for layer in model.modules():
        for parameter in layer.parameters(recurse=False):
            owners.setdefault(id(parameter), set()).add(id(layer))
    return owners


def _check_weights(specs, weights):
    num_speakers = len(next(iter(weights.values()), ()))
    expected = {name: (num_speakers, *shape) for name, shape in specs.items()}
    if {name: weight.shape for name, weight in weights.items()} != expected or not specs:
        _raise_misfit(specs, weights)


def _raise_misfit(specs, weights):
    """Says what of `weights` is not as `specs` ask."""
    if specs.keys() != weights.keys():
        missing, unknown = specs.keys() - weights.keys(), weights.keys() - specs.keys()
        raise ValueError(
            f"Injected weights do not fit the model: missing {sorted(missing) or 'none'}, unknown "
            f"{sorted(unknown) or 'none'}. Expected: {list(specs) or 'none (call inject_ first)'}."
        )
    for name, shape in specs.items():
        if weights[name].shape[1:] != shape:
            raise ValueError(
                f"Injected weight {name!r} has shape {tuple(weights[name].shape)}; expected "
                f"(speakers, {', '.join(map(str, shape))})."
            )
    numbers = {name: weight.shape[0] for name, weight in weights.items()}
    raise ValueError(f"Injected weights are for different numbers of speakers: {numbers}.")
