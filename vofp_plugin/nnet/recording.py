"""Recording: what layers of a model read and give, kept for one thread while others run it."""

from contextlib import contextmanager
from contextvars import ContextVar

# {layer: callable}, which `recorded` sets.
RECORDERS = ContextVar("recorders", default=None)


def make_recordable_(layers):
    """Has `layers` pass on what they read and give, if ever `recorded` asks for it, in place.

    Arguments
    ---------
    layers : iterable of torch.nn.Module

    Returns
    -------
    list
        Handles whose `remove` undoes it, of the layers that were not recordable.

    Example
    -------
    >>> import torch
    >>> layer = torch.nn.Linear(3, 2)
    >>> len(make_recordable_([layer])), len(make_recordable_([layer]))
    (1, 0)
    """
    return [
        layer.register_forward_hook(_pass_on)
        for layer in layers
        if _pass_on not in layer._forward_hooks.values()
    ]


def unrecordable_(model):
    """Undoes `make_recordable_` for all layers of `model`, in place, and returns it.

    Arguments
    ---------
    model : torch.nn.Module

    Returns
    -------
    torch.nn.Module

    Example
    -------
    >>> import torch
    >>> layer = torch.nn.Linear(3, 2)
    >>> handles = make_recordable_([layer])
    >>> len(unrecordable_(layer)._forward_hooks)
    0
    """
    for layer in model.modules():
        for key, hook in [*layer._forward_hooks.items()]:
            if hook is _pass_on:
                del layer._forward_hooks[key]
    return model


@contextmanager
def recorded(recorders):
    """Calls `recorders` whenever their layers run in this thread, inside a `with` block.

    Arguments
    ---------
    recorders : dict
        {layer: callable of what it reads (a tuple) and what it gives}.

    Example
    -------
    >>> import torch
    >>> layer = torch.nn.Linear(3, 2)
    >>> handles = make_recordable_([layer])
    >>> with recorded({layer: lambda inputs, output: print(inputs[0].shape, output.shape)}):
    ...     y = layer(torch.rand(5, 3))
    torch.Size([5, 3]) torch.Size([5, 2])
    """
    token = RECORDERS.set(recorders)
    try:
        yield
    finally:
        RECORDERS.reset(token)


def _pass_on(layer, inputs, output):
    recorders = RECORDERS.get()
    if recorders and layer in recorders:
        recorders[layer](inputs, output)
