"""An adapter for main models that take features alone."""

from torch import nn


class WithoutLens(nn.Module):
    """Calls a model with features alone, so that it reads whole clips, padding included.

    Arguments
    ---------
    model : torch.nn.Module
        Maps features (B, T, F) to any output.

    Example
    -------
    >>> import torch
    >>> main_model = WithoutLens(nn.Sequential(nn.Flatten(), nn.Linear(6, 2)))
    >>> main_model(torch.rand(4, 3, 2), torch.ones(4)).shape
    torch.Size([4, 2])
    """

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, x, lens=None):
        """Maps features `x` (B, T, F) to what the model gives; `lens` is not read."""
        return self.model(x)
