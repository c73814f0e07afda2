"""Size and cost of a model."""

import warnings

import torch
from torch.utils.flop_counter import FlopCounterMode

from vofp_plugin.utils.evaluation_mode import evaluation_mode


def count_parameters(model):
    """Counts the parameters of a model.

    Arguments
    ---------
    model : torch.nn.Module
        Any model.

    Returns
    -------
    int
        Number of parameters, frozen ones included and shared ones counted once.

    Example
    -------
    >>> count_parameters(torch.nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(model, x):
    """Counts the multiply-adds of a model for one item.

    Only convolutions and matrix products are counted, as is usual; normalization, activations and
    pooling are not. The model is left as it was.

    Arguments
    ---------
    model : torch.nn.Module
        Called as ``model(x)``.
    x : torch.Tensor (B, ...)
        Inputs, of which the first item is used.

    Returns
    -------
    int
        Number of multiply-adds of one forward.

    Example
    -------
    >>> count_multiply_adds(torch.nn.Linear(3, 2), torch.randn(5, 3))
    6
    >>> count_multiply_adds(torch.nn.LSTM(3, 2), torch.randn(1, 10, 3))  # 10 of 4 * (2 * 3 + 2 * 2)
    400
    """
    with warnings.catch_warnings(), evaluation_mode(model), torch.no_grad():
        warnings.simplefilter("ignore")  # of accelerators that are not there
        # oneDNN runs recurrent layers as one operation, of which nothing is known.
        with torch.backends.mkldnn.flags(enabled=False), FlopCounterMode(display=False) as counter:
            model(x[:1])
    return counter.get_total_flops() // 2
