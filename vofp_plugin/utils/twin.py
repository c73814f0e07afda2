"""A twin of a model: other modules over the very same parameters and buffers."""

import copy

import torch


def twin(model):
    """Copies the modules of `model` but neither its parameters nor its buffers.

    Hooks, modes and classes of the copy are its own, so that one thread can read or change them
    while another runs `model`; training one trains both.

    Arguments
    ---------
    model : torch.nn.Module

    Returns
    -------
    torch.nn.Module

    Example
    -------
    >>> model = torch.nn.Linear(3, 2)
    >>> other = twin(model).eval()
    >>> other.weight is model.weight, other.training, model.training
    (True, False, True)
    """
    memo = {id(tensor): tensor for tensor in [*model.parameters(), *model.buffers()]}
    for module in model.modules():  # weight norm keeps a tensor that cannot be copied
        for value in vars(module).values():
            if isinstance(value, torch.Tensor) and not value.is_leaf:
                memo[id(value)] = value
    return copy.deepcopy(model, memo)
