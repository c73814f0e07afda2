"""Axes of a layer's output: which holds the items, the channels, time."""

from typing import NamedTuple

import torch

# Items and frames of two batches, whose outputs differ in the axes of items and of time alone.
PROBES = ((2, 101), (3, 141))


class Axes(NamedTuple):
    """Where a tensor holds items and channels.

    Arguments
    ---------
    items : int
        Axis of the batch.
    channels : int
        Axis of the channels, once the items are in axis 0; None where nothing is over time.

    Example
    -------
    >>> Axes(items=0, channels=2).pool(torch.rand(3, 101, 40)).mean.shape
    torch.Size([3, 40])
    """

    items: int
    channels: int | None

    def pool(self, x):
        """Sums up what is over time: `Moments` of x, or (B, *) where nothing is."""
        x = x.movedim(self.items, 0)
        if self.channels is None:
            return x.flatten(1).clone()  # a layer behind it may work in place
        return Moments.of(x.movedim(self.channels, 1))


class Moments(NamedTuple):
    """Means over time of a tensor and of its squares, (B, C) each.

    Example
    -------
    >>> Moments.of(torch.tensor([[[1.0, 3.0]]]))
    Moments(mean=tensor([[2.]]), square=tensor([[5.]]))
    """

    mean: torch.Tensor
    square: torch.Tensor

    @classmethod
    def of(cls, x):
        """Takes them of `x` (B, C, *) over all but B and C."""
        x = x.flatten(2)
        return cls(x.mean(dim=2), x.square().mean(dim=2))


def find_axes(name, shape, longer, channels_last=False):
    """Tells the axes of a tensor by its shapes for the two batches of `PROBES`.

    Channels are in axis 1 unless time is there; then they are last.

    Arguments
    ---------
    name : str
        Whose tensor it is, for the error.
    shape : torch.Size
        For the first batch.
    longer : torch.Size
        For the second batch, of one more item and longer clips.
    channels_last : bool
        Whether channels are known to be last.

    Returns
    -------
    Axes

    Raises
    ------
    ValueError
        If no axis holds the items, or none the channels.

    Example
    -------
    >>> find_axes("blocks.0", torch.Size([2, 97, 512]), torch.Size([3, 137, 512]))
    Axes(items=0, channels=2)
    """
    sizes = list(zip(shape, longer, strict=False))
    num_items = tuple(batch for batch, _ in PROBES)
    if len(shape) == len(longer) and num_items in sizes:
        items = sizes.index(num_items)
        del sizes[items]
        time = [axis for axis, (short, long) in enumerate(sizes, start=1) if short != long]
        if not time:
            return Axes(items, None)
        channels = len(sizes) if channels_last or 1 in time else 1
        if channels not in time:
            return Axes(items, channels)
    raise ValueError(
        f"Layer {name!r} gives {tuple(shape)} and {tuple(longer)} for {PROBES[0]} and {PROBES[1]} "
        "items and frames; expected an axis of items, and of channels: name other layers."
    )


def pooled(parts):
    """Standard deviations behind means, (B, 2 C) of each of `Moments`; tensors stay as they are.

    Arguments
    ---------
    parts : list of Moments or torch.Tensor

    Returns
    -------
    torch.Tensor
        All side by side, (B, size).

    Example
    -------
    >>> moments = Moments.of(torch.tensor([[[1.0, 3.0]]]))
    >>> pooled([moments, torch.zeros(1, 1)]).round(decimals=2)
    tensor([[2., 1., 0.]])
    """
    moments = [part for part in parts if isinstance(part, Moments)]
    if not moments:
        return torch.cat(parts, dim=1)
    # Of all layers at once: most have so few channels that every operation takes the same time.
    mean, square = (torch.cat(tensors, dim=1) for tensors in zip(*moments, strict=True))
    # 30 times as fast as `var` on channels-last outputs, and precise enough at unit scale.
    std = ((square - mean.square()).clamp(min=0) + 1e-5).sqrt()
    stds = iter(std.split([part.mean.shape[1] for part in moments], dim=1))
    flat = [x for p in parts for x in ((p.mean, next(stds)) if isinstance(p, Moments) else (p,))]
    return torch.cat(flat, dim=1)
