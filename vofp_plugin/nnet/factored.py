"""Factored weights: those of N speakers that differ by little, and are never made in full.

They stand where a tensor (N, *shape) could: any function of torch takes them, and sees that tensor.
A weight-injected layer instead runs once with the shared weights for everybody, and adds what is a
speaker's own.
"""

import torch

from vofp_plugin.nnet.kernels import linear, pointwise, scale_and_shift


class Factored:
    """What factored weights share: to be taken for the tensor (N, *shape) that `dense` makes."""

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        """Runs any function of torch on the tensors that factored weights stand for."""
        if function is torch.cat and all(type(part) is cls for part in args[0]):
            first, *others = args[0]
            if all(part.shared is first.shared for part in others):
                return first.joined(others)
        return function(*map(_dense, args), **(kwargs or {}))

    def __getattr__(self, name):
        """Gives any method or attribute of the tensor that this stands for."""
        if name.startswith("_") or name in {"shared", *_FACTORS, "scale"}:
            raise AttributeError(name)
        return getattr(self.dense(), name)

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        return self.dense()[index]

    @property
    def device(self):
        """Of the shared weights."""
        return self.shared.device

    @property
    def dtype(self):
        """Of the shared weights."""
        return self.shared.dtype


class ScaledChannels(Factored):
    """Shared weights, whose output channels every speaker scales.

    Arguments
    ---------
    shared : torch.Tensor
        (O, ...).
    scale : torch.Tensor
        (N, O).

    Example
    -------
    >>> weight = ScaledChannels(torch.ones(2, 3), torch.tensor([[1.0, 2.0]]))
    >>> weight.shape, weight[0].tolist()
    (torch.Size([1, 2, 3]), [[1.0, 1.0, 1.0], [2.0, 2.0, 2.0]])
    """

    def __init__(self, shared, scale):
        self.shared, self.scale = shared, scale
        self.shape = torch.Size([len(scale), *shared.shape])

    def dense(self):
        """The weights of every speaker, (N, *shape)."""
        return self.scale.reshape(*self.scale.shape, *[1] * (self.shared.dim() - 1)) * self.shared

    def joined(self, others):
        """These speakers' weights, and behind them those of others with the same shared ones."""
        return ScaledChannels(self.shared, torch.cat([w.scale for w in (self, *others)]))

    def run(self, x, bias, layer):
        """Output of a weight-injected `layer` for `x` (B, ...) with the biases (N, O), or None."""
        y = layer.run_alone(x, self.shared, None)
        return scale_and_shift(y, self.scale, bias, layer.output_channels % y.dim())


class LowRankSum(Factored):
    """Shared weights, to which every speaker adds a product of two thin matrices.

    Arguments
    ---------
    shared : torch.Tensor
        (O, *), of F numbers for each output channel.
    left : torch.Tensor
        (N, O, r).
    right : torch.Tensor
        (N, r, F).

    Example
    -------
    >>> weight = LowRankSum(torch.ones(2, 3), torch.ones(1, 2, 1), torch.ones(1, 1, 3))
    >>> weight[0].tolist()
    [[2.0, 2.0, 2.0], [2.0, 2.0, 2.0]]
    """

    def __init__(self, shared, left, right):
        self.shared, self.left, self.right = shared, left, right
        self.shape = torch.Size([len(left), *shared.shape])

    def dense(self):
        """The weights of every speaker, (N, *shape)."""
        return self.shared + (self.left @ self.right).reshape(self.shape)

    def joined(self, others):
        """These speakers' weights, and behind them those of others with the same shared ones."""
        left, right = (torch.cat([getattr(w, f) for w in (self, *others)]) for f in _FACTORS)
        return LowRankSum(self.shared, left, right)

    def run(self, x, bias, layer):
        """Output of a weight-injected `layer` for `x` (B, ...) with the biases (N, O), or None."""
        if (
            getattr(layer, "groups", 1) > 1
        ):  # every group has factors of its own; such kernels are small
            return layer.run_together(x, self.dense(), bias)
        thin = self.right.reshape(*self.right.shape[:2], *self.shape[2:])
        own = pointwise if layer.output_channels == 1 else linear
        y = own(layer.run_together(x, thin, None), self.left, bias)
        return y.add_(layer.run_alone(x, self.shared, None))


_FACTORS = "left", "right"


def _dense(value):
    """What a function of torch is given in the place of `value`."""
    if isinstance(value, list | tuple):
        return type(value)(map(_dense, value))
    return value.dense() if isinstance(value, Factored) else value
