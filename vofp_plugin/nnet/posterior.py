"""Distributions over the injected numbers, and the heads that give them.

A distribution has one row for each speaker, and its KL is summed over numbers, in nats. A prior is
a `DiagonalGaussian` too: see `standard_prior`.
"""

import math

import torch
from torch import nn


class DiagonalGaussian:
    """Independent normal distribution of every number.

    Arguments
    ---------
    mean : torch.Tensor
        (N, P).
    log_var : torch.Tensor
        Logarithm of the variance, broadcastable to (N, P).

    Example
    -------
    >>> posterior = DiagonalGaussian(torch.zeros(3, 5), torch.zeros(3, 5))
    >>> posterior.kl(standard_prior(1.0))
    tensor([0., 0., 0.])
    """

    def __init__(self, mean, log_var):
        self.mean = mean
        self.log_var = log_var.expand_as(mean)

    @property
    def std(self):
        """Standard deviation, (N, P)."""
        return torch.exp(0.5 * self.log_var)

    def sample(self, generator=None):
        """Draws (N, P) with gradients to mean and log-variance (reparameterization)."""
        noise = torch.randn(
            self.mean.shape,
            generator=generator,
            dtype=self.mean.dtype,
            device=self.mean.device if generator is None else generator.device,
        )
        return self.mean + self.std * noise.to(self.mean.device)

    def kl(self, prior):
        """Kullback-Leibler divergence to `prior`, summed over numbers, in nats: (N,)."""
        ratio = self.log_var - prior.log_var
        distance = (self.mean - prior.mean) ** 2 * torch.exp(-prior.log_var)
        return 0.5 * (torch.exp(ratio) + distance - 1.0 - ratio).sum(-1)


class Delta:
    """All mass on the mean: the deterministic ablation, on the same code path with KL = 0.

    Arguments
    ---------
    mean : torch.Tensor
        (N, P).

    Example
    -------
    >>> Delta(torch.ones(2, 3)).kl(standard_prior(1.0))
    tensor([0., 0.])
    """

    def __init__(self, mean):
        self.mean = mean

    def sample(self, generator=None):
        """Returns the mean (N, P)."""
        return self.mean

    def kl(self, prior):
        """Zeros (N,): by convention, since the true divergence is infinite."""
        return self.mean.new_zeros(self.mean.shape[0])


def standard_prior(std, device=None):
    """Prior N(0, std^2) of every number, for any N and P.

    Arguments
    ---------
    std : float
        Standard deviation, > 0.
    device : torch.device

    Returns
    -------
    DiagonalGaussian
        Of shape (1, 1), which broadcasts.

    Example
    -------
    >>> standard_prior(2.0).std
    tensor([[2.]])
    """
    if not std > 0:
        raise ValueError(f"Got prior_std {std}; expected a number above 0.")
    log_var = torch.full((1, 1), 2.0 * math.log(std), device=device)
    return DiagonalGaussian(torch.zeros(1, 1, device=device), log_var)


class GaussianHead(nn.Module):
    """Makes a `DiagonalGaussian` of means.

    The log-variance of every number is one of its own plus an offset for each injected tensor, a
    linear function of how precise the code is, so that the posterior can narrow as enrollment
    grows.

    Arguments
    ---------
    sizes : list of int
        Numbers of each injected tensor, P together.
    std : float
        Standard deviation of every posterior at the start.
    generator : torch.Generator
        For the initialization.

    Example
    -------
    >>> head = GaussianHead([2, 4], std=0.5)
    >>> head(torch.zeros(3, 6), torch.zeros(3, 1)).std[0].tolist()
    [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    """

    is_random = True  # whether samples differ from the mean

    def __init__(self, sizes, std=0.09, generator=None):
        super().__init__()
        if not std > 0:
            raise ValueError(f"Got posterior_std {std}; expected a number above 0.")
        # Of every number, which tensor it is of; on the device, where nothing waits for it.
        tensor_of = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
        self.register_buffer("tensor_of", tensor_of, persistent=False)
        self.log_var = nn.Parameter(torch.full((sum(sizes),), 2 * math.log(std)))
        self.log_var_offset = nn.Linear(1, len(sizes))
        nn.init.normal_(self.log_var_offset.weight, 0.0, 1e-3, generator=generator)
        nn.init.zeros_(self.log_var_offset.bias)

    def forward(self, mean, precisions):
        """Makes the posterior of means (N, P) and of the codes' precisions (N, 1)."""
        offset = self.log_var_offset(precisions.log1p())
        return DiagonalGaussian(mean, self.log_var + offset.index_select(1, self.tensor_of))


class DeltaHead(nn.Module):
    """Makes a `Delta` of means.

    Arguments
    ---------
    sizes : list of int
        Numbers of each injected tensor, as for `GaussianHead`.

    Example
    -------
    >>> DeltaHead([2, 4])(torch.ones(3, 6), torch.zeros(3, 1)).sample().shape
    torch.Size([3, 6])
    """

    is_random = False

    def __init__(self, sizes, generator=None):
        super().__init__()

    def forward(self, mean, precisions):
        """Makes the posterior of means (N, P)."""
        return Delta(mean)
