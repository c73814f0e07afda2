"""Kernels: what layers compute, with weights of their own for each of several speakers.

They take `x` (B, ...) of B = N * Q items, Q of each speaker, speaker after speaker, and give what
the plain layer gives, in the memory layout in which it gives it. Which way is fastest was measured:

- A matrix, or a kernel of size 1, is one batched matrix product: of rows, where channels are
  innermost in memory; else of columns.
- Any other kernel is one convolution in which the speakers are groups.
- A scale with a shift is one multiply-add where channels are innermost; else a product and a sum in
  place, which are faster there.

A single speaker needs no kernel: the layer is torch's own.
"""

import math

import torch
import torch.nn.functional as F

CONVOLUTIONS = {3: F.conv1d, 4: F.conv2d}


def linear(x, weight, bias):
    """Maps `x` (B, *, I) with matrices (N, O, I) and vectors (N, O), or None, to (B, *, O).

    Example
    -------
    >>> linear(torch.ones(4, 7, 3), torch.ones(2, 5, 3), None).shape
    torch.Size([4, 7, 5])
    """
    rows = x.reshape(len(weight), math.prod(x.shape[:-1]) // len(weight), x.shape[-1])
    if bias is None:
        y = torch.bmm(rows, weight.transpose(1, 2))
    else:
        y = torch.baddbmm(bias.unsqueeze(1), rows, weight.transpose(1, 2))
    return y.reshape(*x.shape[:-1], weight.shape[1])


def pointwise(x, weight, bias):
    """Maps `x` (B, I, *) with kernels (N, O, I, 1...) and vectors (N, O), or None, to (B, O, *).

    Example
    -------
    >>> pointwise(torch.ones(4, 3, 7), torch.ones(2, 5, 3, 1), None).shape
    torch.Size([4, 5, 7])
    """
    weight = weight.flatten(2)
    if channels_innermost(x):
        return linear(x.movedim(1, -1), weight, bias).movedim(-1, 1)
    columns = x.reshape(*_speakers_and_items(x, weight), x.shape[1], math.prod(x.shape[2:]))
    y = weight.unsqueeze(1) @ columns
    if bias is not None:
        y.add_(bias[:, None, :, None])  # in place also keeps the precision of autocast
    return y.reshape(len(x), weight.shape[1], *x.shape[2:])


def convolve(x, weight, bias, stride, padding, dilation, groups):
    """Convolves `x` (B, I, *) with kernels (N, O, I / groups, *) to (B, O, *).

    Arguments
    ---------
    x : torch.Tensor
        (B, I, T) or (B, I, H, W).
    weight : torch.Tensor
        (N, O, I / groups, *).
    bias : torch.Tensor
        (N, O), or None.
    stride, padding, dilation, groups
        As `torch.nn.functional.conv2d`, for one speaker.

    Returns
    -------
    torch.Tensor
        (B, O, *).

    Example
    -------
    >>> x, weight = torch.ones(4, 3, 7), torch.ones(2, 5, 3, 3)
    >>> convolve(x, weight, None, stride=1, padding=1, dilation=1, groups=1).shape
    torch.Size([4, 5, 7])
    """
    innermost = channels_innermost(x)
    items = x.unflatten(0, _speakers_and_items(x, weight))
    if innermost:  # copies whole rows of channels, and the convolution keeps the layout
        items = items.movedim(2, -1).movedim(0, -2).flatten(-2).movedim(-1, 1)
    else:
        items = items.transpose(0, 1).flatten(1, 2)
    y = CONVOLUTIONS[x.dim()](
        items,
        weight.flatten(0, 1),
        None if bias is None else bias.flatten(),
        stride,
        padding,
        dilation,
        groups=len(weight) * groups,
    )
    y = y.unflatten(1, weight.shape[:2]).transpose(0, 1)
    if innermost:
        return y.movedim(2, -1).flatten(0, 1).movedim(-1, 1)
    return y.flatten(0, 1)


def scale_and_shift(x, scale, shift, dim=1):
    """Multiplies channels of `x` by scales and adds shifts, all in the precision of `x`.

    Arguments
    ---------
    x : torch.Tensor
        (B, ...).
    scale : torch.Tensor
        (N, *channels).
    shift : torch.Tensor
        (N, *channels), or None.
    dim : int
        First dimension of `x` that is one of channels.

    Returns
    -------
    torch.Tensor
        Like `x`.

    Example
    -------
    >>> scale_and_shift(torch.ones(2, 1, 3), torch.ones(2, 1), torch.tensor([[0.0], [1.0]]))
    tensor([[[1., 1., 1.]],
    <BLANKLINE>
            [[2., 2., 2.]]])
    """
    items, before = x, dim - 1
    if len(x) != len(scale):
        items, before = x.reshape(*_speakers_and_items(x, scale), *x.shape[1:]), dim
    last = before + scale.dim() - 1  # of the dimensions of channels
    shape = (len(scale), *[1] * before, *scale.shape[1:], *[1] * (items.dim() - 1 - last))
    scale = scale.view(shape)
    if shift is None:
        y = items * scale
    elif items.stride(last) == 1:
        y = torch.addcmul(shift.view(shape), items, scale)
    else:
        y = (items * scale).add_(shift.view(shape))
    return y.view(x.shape).to(x.dtype)


def channels_innermost(x):
    """Whether channels of `x` (B, C, *) lie side by side in memory, as in (B, *, C).

    Example
    -------
    >>> x = torch.rand(2, 7, 3)
    >>> channels_innermost(x), channels_innermost(x.transpose(1, 2))
    (False, True)
    """
    return x.stride(1) == 1 and x.shape[1] > 1


def _speakers_and_items(x, weight):
    """N and Q; not -1, which an empty batch would leave open."""
    return len(weight), len(x) // len(weight)
