"""Forms: how many numbers describe an injected tensor, and the tensor they make.

A form is made for one parameter. Its numbers are in units in which a standard deviation of s
changes the layer's output by about s, whatever the layer's size, so one prior fits all layers.
"""

import math

import torch

from vofp_plugin.nnet.factored import LowRankSum, ScaledChannels


class Full:
    """One number for each weight.

    Arguments
    ---------
    shape : torch.Size
        Shape of the parameter, output channels first.

    Example
    -------
    >>> form = Full(torch.Size([2, 4]))
    >>> form.size, form.tensor(torch.ones(3, 8), None)[0, 0].tolist()
    (8, [0.5, 0.5, 0.5, 0.5])
    """

    reads_shared = False  # whether `tensor` needs the shared weights

    def __init__(self, shape, rank=None):
        self.shape = shape
        self.size = math.prod(shape)
        self.scale = fan_in(shape) ** -0.5

    def tensor(self, numbers, shared):
        """Makes the injected tensor (N, *shape) of `numbers` (N, size)."""
        return numbers.unflatten(1, self.shape) * self.scale

    def added(self, numbers, shared):
        """Makes weights (N, *shape), or factored ones: the tensor of `numbers` plus `shared`."""
        return shared + self.tensor(numbers, shared)

    def no_change(self, generator=None):
        """Numbers (size,) of a tensor of zeros."""
        return torch.zeros(self.size)

    def same_as(self, shared, generator=None):
        """Numbers (size,) of a tensor that is `shared`."""
        return shared.flatten() / self.scale

    def is_free(self):
        """Says of each number (size,) whether the enrollment may change it at the start."""
        return torch.ones(self.size, dtype=torch.bool)


class Channel(Full):
    """One number for each output channel: a scale of kernels and matrices, a shift of vectors.

    Arguments
    ---------
    shape : torch.Size
        Shape of the parameter, output channels first.

    Example
    -------
    >>> form = Channel(torch.Size([2, 4]))
    >>> form.size, form.tensor(torch.full((3, 2), 0.1), torch.ones(2, 4)).shape
    (2, torch.Size([3, 2, 4]))
    """

    def __init__(self, shape, rank=None):
        super().__init__(shape)
        self.size = shape[0]
        self.reads_shared = len(shape) > 1

    def tensor(self, numbers, shared):
        """Makes the injected tensor (N, *shape) of `numbers` (N, size)."""
        if len(self.shape) == 1:
            return numbers
        return ScaledChannels(shared, numbers).dense()

    def added(self, numbers, shared):
        """Makes weights (N, *shape), or factored ones: the tensor of `numbers` plus `shared`."""
        if len(self.shape) == 1:
            return super().added(numbers, shared)
        return ScaledChannels(shared, 1 + numbers)

    def same_as(self, shared, generator=None):
        """Numbers (size,) of a tensor that is `shared`."""
        return super().same_as(shared) if len(self.shape) == 1 else torch.ones(self.size)


class LowRank(Full):
    """Two factors of rank r for kernels and matrices; `Full` for vectors.

    Arguments
    ---------
    shape : torch.Size
        Shape of the parameter, output channels first.
    rank : int
        Rank r.

    Example
    -------
    >>> form = LowRank(torch.Size([6, 4, 3]), rank=2)
    >>> form.size, form.tensor(torch.rand(5, 36), None).shape
    (36, torch.Size([5, 6, 4, 3]))
    """

    def __init__(self, shape, rank):
        super().__init__(shape)
        self.factors = ()
        if len(shape) > 1:
            self.factors = ((shape[0], rank), (rank, math.prod(shape[1:])))
            self.size = sum(math.prod(factor) for factor in self.factors)
            self.scale /= rank**0.5

    def tensor(self, numbers, shared):
        """Makes the injected tensor (N, *shape) of `numbers` (N, size)."""
        if not self.factors:
            return super().tensor(numbers, shared)
        left, right = self._factors(numbers)
        return (left @ right).reshape(-1, *self.shape)

    def added(self, numbers, shared):
        """Makes weights (N, *shape), or factored ones: the tensor of `numbers` plus `shared`."""
        if not self.factors:
            return super().added(numbers, shared)
        return LowRankSum(shared, *self._factors(numbers))

    def _factors(self, numbers):
        """Two factors, (N, O, r) and (N, r, I), whose product is the tensor."""
        parts = numbers.split([math.prod(factor) for factor in self.factors], dim=1)
        left, right = (p.unflatten(1, f) for p, f in zip(parts, self.factors, strict=True))
        return left, right * self.scale

    def no_change(self, generator=None):
        """Numbers (size,) of a tensor of zeros.

        The left factor is zero, and the right one random, so that the left one gets a gradient.
        """
        if not self.factors:
            return super().no_change()
        return torch.randn(self.size, generator=generator).masked_fill(~self.is_free(), 0.0)

    def same_as(self, shared, generator=None):
        """Numbers (size,) of random weights of the usual size: `shared` has no such factors."""
        if not self.factors:
            return super().same_as(shared)
        return torch.randn(self.size, generator=generator)

    def is_free(self):
        """Says of each number (size,) whether the enrollment may change it at the start."""
        free = super().is_free()
        if self.factors:
            free = torch.arange(self.size) >= math.prod(self.factors[0])
        return free


FORMS = {"full": Full, "channel": Channel, "low_rank": LowRank}


def fan_in(shape):
    """Number of inputs that one output of a parameter of this shape sums; 1 for vectors.

    Example
    -------
    >>> fan_in(torch.Size([8, 4, 3])), fan_in(torch.Size([8]))
    (12, 1)
    """
    return math.prod(shape[1:])
