"""Injection: turn layers of an untouched model into weight-injected ones, and run them.

The contract between a main model and a hyper-personalizer is `weight_specs`: an ordered
`{parameter name: shape}`. Nothing is silent: what does not fit is an error.
"""

from contextlib import contextmanager
from fnmatch import fnmatchcase

from torch import nn

from vofp_plugin.nnet.layers import WEIGHT_INJECTED, WeightInjected

# Their fast path reads the parameters of their layers and never calls them.
FUSED = (nn.TransformerEncoderLayer, nn.MultiheadAttention)


def inject_(model, targets):
    """Turns the layers of `model` that `targets` match into weight-injected ones, in place.

    Parameters, their identity and the state-dict keys stay the same, and so does the output
    until `injected` puts weights on the layers.

    Arguments
    ---------
    model : torch.nn.Module
        The main model.
    targets : iterable of str
        fnmatch patterns on module names. A pattern may match containers and layers without
        parameters too (they are passed over), but must match one injectable layer.

    Returns
    -------
    torch.nn.Module
        `model`.

    Raises
    ------
    ValueError
        If a pattern matches no injectable layer.
    TypeError
        If a matched layer has parameters of its own and cannot be injected, by its type or because
        its weight is made of others, as by `weight_norm`.

    Example
    -------
    >>> from torch import nn
    >>> model = inject_(nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2)), ["2"])
    >>> weight_specs(model)
    {'2.weight': torch.Size([2, 4]), '2.bias': torch.Size([2])}
    """
    layers = {name: layer for pattern in targets for name, layer in _matches(model, pattern)}
    for layer in layers.values():
        if not isinstance(layer, WeightInjected):
            layer.__class__ = WEIGHT_INJECTED[type(layer)]
    return model


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
            vars(layer).pop("injected_weights", None)
    return model


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
    return {
        f"{name}.{key}" if name else key: parameter.shape
        for name, layer in model.named_modules()
        if isinstance(layer, WeightInjected)
        for key, parameter in layer.named_parameters(recurse=False)
    }


@contextmanager
def injected(model, weights):
    """Runs the weight-injected layers of `model` with `weights` inside a `with` block.

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
    _check_weights(weight_specs(model), weights)
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, WeightInjected)]
    before = [layer.injected_weights for _, layer in layers]
    try:
        for name, layer in layers:
            keys = [key for key, _ in layer.named_parameters(recurse=False)]
            prefix = f"{name}." if name else ""
            layer.injected_weights = {key: weights[prefix + key] for key in keys}
        yield model
    finally:
        for (_, layer), weights_before in zip(layers, before, strict=True):
            layer.injected_weights = weights_before


def _matches(model, pattern):
    """Injectable layers whose names `pattern` matches, as (name, layer) pairs."""
    found, fused = [], _fused(model)
    for name, layer in model.named_modules():
        own = [key for key, _ in layer.named_parameters(recurse=False)]
        if not own or not fnmatchcase(name, pattern):
            continue
        # Weight norm and spectral norm of old have other parameters, of which `weight` is made.
        if not _is_injectable(layer) or name in fused or not {*own} <= {"weight", "bias"}:
            raise TypeError(
                f"Target {pattern!r} matches layer {name!r} of type {type(layer).__name__}, which "
                f"cannot be injected (it has {', '.join(own)}). Injectable are exactly: "
                f"{', '.join(kind.__name__ for kind in WEIGHT_INJECTED)}, outside of "
                f"{' and '.join(kind.__name__ for kind in FUSED)}, with weight and bias alone."
            )
        found.append((name, layer))
    if not found:
        exist = [name for name, layer in model.named_modules() if _is_injectable(layer)]
        raise ValueError(
            f"Target {pattern!r} matches no injectable layer. Layers that exist: "
            f"{', '.join(exist) or 'none'}."
        )
    return found


def _fused(model):
    """Names of the layers inside of modules that may pass their forward by."""
    return {
        f"{name}.{child}" if name else child
        for name, module in model.named_modules()
        if isinstance(module, FUSED)
        for child, _ in module.named_modules()
    }


def _is_injectable(layer):
    return type(layer) in WEIGHT_INJECTED or isinstance(layer, WeightInjected)


def _check_weights(specs, weights):
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
    if len({weight.shape[0] for weight in weights.values()}) > 1:
        numbers = {name: weight.shape[0] for name, weight in weights.items()}
        raise ValueError(f"Injected weights are for different numbers of speakers: {numbers}.")
