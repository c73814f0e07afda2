"""Evaluation mode for a while, whatever mode each part of a model is in."""

from contextlib import contextmanager


@contextmanager
def evaluation_mode(model):
    """Puts a model into evaluation mode, and every module back into its own on leaving.

    In it, running statistics do not move and batch normalization takes a single item.

    Arguments
    ---------
    model : torch.nn.Module

    Example
    -------
    >>> import torch
    >>> model = torch.nn.Linear(3, 2)
    >>> with evaluation_mode(model):
    ...     model.training
    False
    >>> model.training
    True
    """
    was_training = {module: module.training for module in model.modules()}
    model.eval()
    try:
        yield
    finally:
        for module, training in was_training.items():
            module.training = training
