"""Speaker weights: those of one layer for N speakers, made ready for all that it will be asked."""

from typing import NamedTuple

import torch


class SpeakerWeights(NamedTuple):
    """Weights of one layer, for each speaker; of a single speaker without that dimension.

    Arguments
    ---------
    num_speakers : int
        N.
    weight : torch.Tensor or Factored
        (N, *shape), or (*shape) of a single speaker.
    bias : torch.Tensor
        Likewise, or None.
    folded : Folded
        For the normalization of several speakers by known statistics; None elsewhere.

    Example
    -------
    >>> SpeakerWeights.of(torch.ones(1, 3, 2), None).weight.shape
    torch.Size([3, 2])
    """

    num_speakers: int
    weight: torch.Tensor
    bias: torch.Tensor | None
    folded: "Folded | None" = None

    @classmethod
    def of(cls, weight, bias):
        """Makes them of a weight (N, *shape) and a bias (N, *shape), or None."""
        if len(weight) != 1:
            return cls(len(weight), weight, bias)
        return cls(1, torch.squeeze(weight, 0), None if bias is None else bias.squeeze(0))


class Folded(NamedTuple):
    """Scale and shift, (N, C) each, of a batch normalization by the statistics `running_var`.

    Example
    -------
    >>> Folded(torch.ones(3), torch.ones(2, 3), torch.zeros(2, 3)).scale.shape
    torch.Size([2, 3])
    """

    running_var: torch.Tensor
    scale: torch.Tensor
    shift: torch.Tensor


def fold(weights):
    """Folds known statistics into the weights of batch normalizations, of all layers at once.

    Arguments
    ---------
    weights : dict
        {layer: SpeakerWeights}, of which those normalize by running statistics whose layers have
        some and are in evaluation mode.

    Returns
    -------
    dict
        The same, folded where it can be.

    Example
    -------
    >>> layer = torch.nn.BatchNorm1d(3).eval()
    >>> weights = {layer: SpeakerWeights.of(torch.ones(2, 3), torch.zeros(2, 3))}
    >>> fold(weights)[layer].folded.scale.shape
    torch.Size([2, 3])
    """
    alike = {}
    for layer, own in weights.items():
        if (
            own.num_speakers > 1
            and not layer.training
            and layer._buffers.get("running_var") is not None
        ):
            alike.setdefault((layer.eps, own.weight.device), []).append(layer)
    folded = {}
    for (eps, _), layers in alike.items():
        # Dozens of layers of a few numbers each: one operation on all takes the time of one.
        mean, var = (torch.cat([m._buffers[name] for m in layers]) for name in _STATISTICS)
        weight = torch.cat([weights[layer].weight for layer in layers], dim=1)
        bias = torch.cat([weights[layer].bias for layer in layers], dim=1)
        scale = weight * (var.to(torch.promote_types(var.dtype, torch.float32)) + eps).rsqrt()
        shift = torch.addcmul(bias, mean, scale, value=-1)
        sizes = [layer.num_features for layer in layers]
        for layer, *pair in zip(layers, scale.split(sizes, 1), shift.split(sizes, 1), strict=True):
            ready = Folded(layer._buffers["running_var"], *pair)
            folded[layer] = SpeakerWeights(*weights[layer][:3], ready)
    return {**weights, **folded}


_STATISTICS = "running_mean", "running_var"
