"""Identity: a digest of all that decides what a model or a front end makes of its input.

A summary means something only to the model and the front end that it was made with, so a profile
remembers their digests. A digest is made once, and again when a tensor has changed, which torch
counts: looking takes a small part of the time of a forward pass.
"""

import hashlib
import inspect
import threading
import weakref

import torch
from torch import nn

_KNOWN = weakref.WeakKeyDictionary()  # {model or front end: (versions, what they are of, digest)}
_LOCK = threading.Lock()


def identity(part):
    """Digest of the tensors, classes and settings of a model or a front end.

    Settings are the arguments of their constructors that modules keep, and what they print of
    themselves; the mode of training is none. Changed tensors are noticed, unless they are changed
    behind torch's back through `.data` in place; so are replaced modules.

    Arguments
    ---------
    part : torch.nn.Module or FrontEnd
        Of any precision, quantized ones included.

    Returns
    -------
    str
        24 hexadecimal digits.

    Example
    -------
    >>> model = nn.Linear(3, 2)
    >>> before = identity(model)
    >>> identity(model.bfloat16().float()) == before  # it has lost digits
    False
    """
    modules = _modules(part)
    watched = [value for module in modules for value in _watched(module)]
    versions = [_version(value) for value in watched]
    with _LOCK:
        known = _KNOWN.get(part)
    if known is not None and known[0] == versions:
        return known[2]
    digest = hashlib.sha256()
    states = [root.state_dict() for root in _roots(part)]
    for piece in _pieces([_settings(part), *map(_settings, modules), states]):
        digest.update(piece)
    # While these are kept, nothing else can get their place in memory, by which they are known.
    kept = [value for value in watched if value is not part]
    kept += [value.detach() for value in watched if isinstance(value, torch.Tensor)]
    with _LOCK:
        _KNOWN[part] = versions, kept, digest.hexdigest()[:24]
    return digest.hexdigest()[:24]


def _roots(part):
    """The module itself, or those that a front end holds."""
    if isinstance(part, nn.Module):
        return [part]
    return [value for value in vars(part).values() if isinstance(value, nn.Module)]


def _modules(part):
    """All modules of a model or a front end; faster than torch's, and this runs for every query."""
    found = _roots(part)
    for module in found:  # which grows
        found += [child for child in module._modules.values() if child is not None]
    return found


def _watched(module):
    """What changes when the state of a module does, of its own."""
    yield module
    yield from module._parameters.values()
    yield from module._buffers.values()
    kind = type(module)
    if (kind.get_extra_state, kind._save_to_state_dict) != _PLAIN:
        yield from list(vars(module).values())  # statistics, or weights packed when quantized


_PLAIN = nn.Module.get_extra_state, nn.Module._save_to_state_dict


def _version(value):
    if not isinstance(value, torch.Tensor):
        return id(value)
    # Nobody counts the changes of an inference tensor: an object that equals no other.
    return id(value), value.data_ptr(), object() if value.is_inference() else value._version


def _settings(part):
    """Class, settings and printed form of a module; class and attributes of a front end."""
    held, kind = vars(part), type(part)
    if not isinstance(part, nn.Module):
        return [kind.__qualname__, held]
    arguments = inspect.signature(kind.__init__).parameters
    settings = {key: held[key] for key in arguments if key in held}
    return [kind.__qualname__, settings, part.extra_repr()]


def _pieces(value):
    """Yields bytes that tell a nested value from any other."""
    if isinstance(value, dict):
        yield from _pieces([item for pair in value.items() for item in pair])
    elif isinstance(value, list | tuple):
        yield f"{len(value)} items\n".encode()
        for item in value:
            yield from _pieces(item)
    elif isinstance(value, torch.Tensor):
        yield from _tensor_pieces(value)
    elif isinstance(value, str | int | float | None | torch.dtype):
        yield f"{value!r}\n".encode()
    else:  # an address tells nothing
        yield f"{getattr(value, '__qualname__', type(value).__qualname__)}\n".encode()


def _tensor_pieces(tensor):
    yield f"{tensor.dtype} {tuple(tensor.shape)}\n".encode()
    if tensor.is_quantized:
        tensor = tensor.dequantize()
    yield tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
