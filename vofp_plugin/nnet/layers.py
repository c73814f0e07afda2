"""Weight-injected layers: torch layers that run with one set of weights for each speaker.

Each class adds a way to run and nothing else: no parameter, no buffer, no constructor.
`vofp_plugin.nnet.injection.inject_` turns a layer of an existing model into one of these by setting
its `__class__`, so parameters and state-dict keys stay what they were.

A batch of B = N * Q items holds Q items of each of N speakers, speaker after speaker. The injected
weights are not on the layer but in `WEIGHTS`, of which every thread has its own: without any there
the layer is the plain torch layer.
"""

from contextvars import ContextVar
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import nn

# {layer: {"weight": (N, *shape), "bias": (N, *shape)}}, which `injection.injected` sets.
WEIGHTS = ContextVar("injected weights", default=MappingProxyType({}))


class WeightInjected:
    """What all weight-injected layers share: where weights and the batch are, and how to run."""

    batch_dim = 0  # of the input; `check_injection` sets another one where the batch is there

    @property
    def injected_weights(self):
        """{"weight": (N, *shape), "bias": (N, *shape)} or a part of it; None without any."""
        return WEIGHTS.get().get(self)

    def forward(self, x):
        """Runs the layer, with the weights of each speaker where they are injected.

        Raises
        ------
        ValueError
            If the speakers do not divide the batch.
        RuntimeError
            In a backward pass, where `torch.utils.checkpoint` would have it run once more.
        """
        if torch._C._current_graph_task_id() != -1:
            raise RuntimeError(
                f"A {type(self).__name__} got a forward pass within a backward pass, when injected "
                "weights are gone; expected none: switch checkpointing of activations off."
            )
        if self.injected_weights is None:
            return super().forward(x)
        y = self._run_by_speaker(x.transpose(0, self.batch_dim))
        return y.transpose(0, self.batch_dim)

    def batch_dims(self, x):
        """Dimensions of an input `x` which the layer does not mix, where the batch may be."""
        return range(1)

    def num_speakers(self, batch_size):
        """Number of weight sets N, checked against the batch.

        Arguments
        ---------
        batch_size : int
            Number of items B in the batch.

        Returns
        -------
        int
            N.

        Raises
        ------
        ValueError
            If N does not divide B.
        """
        num_speakers = next(iter(self.injected_weights.values())).shape[0]
        if batch_size % num_speakers:
            raise ValueError(
                f"Got a batch of {batch_size} items for {num_speakers} speakers; expected the same "
                "number of items for each speaker, speaker after speaker."
            )
        return num_speakers

    def speaker_weight(self, name, num_speakers):
        """Weights of each speaker: the injected ones, else the layer's own for everybody.

        Arguments
        ---------
        name : str
            "weight" or "bias".
        num_speakers : int
            N.

        Returns
        -------
        torch.Tensor or None
            (N, *shape); None if the layer has no such parameter.
        """
        if name in self.injected_weights:
            return self.injected_weights[name]
        shared = getattr(self, name)
        return None if shared is None else shared.expand(num_speakers, *shared.shape)


class WeightInjectedLinear(WeightInjected, nn.Linear):
    """Linear layer with a weight matrix for each speaker: one batched matrix product.

    Example
    -------
    >>> from vofp_plugin.nnet.injection import inject_, injected
    >>> layer = inject_(nn.Linear(3, 2), ["*"])
    >>> with injected(layer, {"weight": torch.zeros(4, 2, 3), "bias": torch.ones(4, 2)}):
    ...     layer(torch.rand(8, 5, 3)).shape
    torch.Size([8, 5, 2])
    """

    def batch_dims(self, x):
        """All dimensions but that of the features."""
        return range(x.dim() - 1)

    def _run_by_speaker(self, x):
        """Maps `x` (B, *, in_features) to (B, *, out_features)."""
        num_speakers = self.num_speakers(x.shape[0])
        items = x.reshape(num_speakers, -1, self.in_features)
        weight = self.speaker_weight("weight", num_speakers).transpose(1, 2)
        bias = self.speaker_weight("bias", num_speakers)
        if bias is None:
            y = torch.bmm(items, weight)
        else:
            y = torch.baddbmm(bias.unsqueeze(1), items, weight)
        return y.reshape(*x.shape[:-1], self.out_features)


class WeightInjectedConv(WeightInjected):
    """Convolution with a kernel for each speaker: speakers become groups of one convolution."""

    def _run_by_speaker(self, x):
        """Maps `x` (B, C_in, *) to (B, C_out, *)."""
        if x.dim() != self.weight.dim():
            raise ValueError(
                f"Got an input of shape {tuple(x.shape)}; expected {self.weight.dim()} dimensions, "
                "the first one the batch."
            )
        num_speakers = self.num_speakers(x.shape[0])
        weight = self.speaker_weight("weight", num_speakers)
        bias = self.speaker_weight("bias", num_speakers)
        if self._is_pointwise():
            return self._pointwise(x, weight.flatten(2), bias)
        return self._grouped(x, weight, bias)

    def _is_pointwise(self):
        return (
            self.groups == 1
            and set(self.kernel_size) == {1}
            and set(self.stride) == {1}
            and (self.padding == "valid" or set(self.padding) == {0})
        )

    def _pointwise(self, x, weight, bias):
        """A kernel of size 1 is a matrix product, which needs no copy of the input."""
        num_speakers = weight.shape[0]
        items = x.reshape(num_speakers, -1, self.in_channels, x[0, 0].numel())
        y = weight.unsqueeze(1) @ items
        if bias is not None:
            y = y + bias[:, None, :, None]
        return y.reshape(x.shape[0], self.out_channels, *x.shape[2:])

    def _grouped(self, x, weight, bias):
        num_speakers, padding = weight.shape[0], self.padding
        if self.padding_mode != "zeros":
            x = F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        items = x.reshape(num_speakers, -1, *x.shape[1:]).transpose(0, 1)
        y = self.convolution(
            items.flatten(1, 2),
            weight.flatten(0, 1),
            None if bias is None else bias.flatten(),
            self.stride,
            padding,
            self.dilation,
            groups=num_speakers * self.groups,
        )
        y = y.unflatten(1, (num_speakers, self.out_channels)).transpose(0, 1)
        return y.reshape(x.shape[0], *y.shape[2:])


class WeightInjectedConv1d(WeightInjectedConv, nn.Conv1d):
    """1-D convolution with a kernel for each speaker.

    Example
    -------
    >>> from vofp_plugin.nnet.injection import inject_, injected
    >>> layer = inject_(nn.Conv1d(3, 2, kernel_size=5, padding=2, bias=False), ["*"])
    >>> with injected(layer, {"weight": torch.rand(4, 2, 3, 5)}):
    ...     layer(torch.rand(8, 3, 10)).shape
    torch.Size([8, 2, 10])
    """

    convolution = staticmethod(F.conv1d)


class WeightInjectedConv2d(WeightInjectedConv, nn.Conv2d):
    """2-D convolution with a kernel for each speaker.

    Example
    -------
    >>> from vofp_plugin.nnet.injection import inject_, injected
    >>> layer = inject_(nn.Conv2d(4, 4, kernel_size=3, groups=4, bias=False), ["*"])
    >>> with injected(layer, {"weight": torch.rand(2, 4, 1, 3, 3)}):
    ...     layer(torch.rand(6, 4, 8, 9)).shape
    torch.Size([6, 4, 6, 7])
    """

    convolution = staticmethod(F.conv2d)


class WeightInjectedBatchNorm(WeightInjected):
    """Batch normalization with a scale and a shift for each speaker; statistics stay shared."""

    def _run_by_speaker(self, x):
        """Normalizes `x` (B, C, *) over B and *, then scales and shifts it by speaker."""
        self._check_input_dim(x)
        num_speakers = self.num_speakers(x.shape[0])
        y = self._normalize(x).reshape(num_speakers, -1, *x.shape[1:])
        channel = (num_speakers, 1, self.num_features) + (1,) * (x.dim() - 2)
        weight = self.speaker_weight("weight", num_speakers).reshape(channel)
        bias = self.speaker_weight("bias", num_speakers).reshape(channel)
        return torch.addcmul(bias, y, weight).reshape(x.shape)

    def _normalize(self, x):
        """Normalizes with batch statistics in training, as torch's own forward does."""
        factor = self.momentum
        if self.training and self.track_running_stats:
            self.num_batches_tracked.add_(1)
            if factor is None:
                factor = 1.0 / float(self.num_batches_tracked)
        use_batch = self.training or self.running_mean is None
        track = not self.training or self.track_running_stats
        return F.batch_norm(
            x,
            self.running_mean if track else None,
            self.running_var if track else None,
            training=use_batch,
            momentum=factor or 0.0,
            eps=self.eps,
        )


class WeightInjectedBatchNorm1d(WeightInjectedBatchNorm, nn.BatchNorm1d):
    """Batch normalization of (B, C) or (B, C, T) with a scale and a shift for each speaker.

    Example
    -------
    >>> from vofp_plugin.nnet.injection import inject_, injected
    >>> layer = inject_(nn.BatchNorm1d(3), ["*"])
    >>> with injected(layer, {"weight": torch.rand(2, 3), "bias": torch.rand(2, 3)}):
    ...     layer(torch.rand(4, 3, 10)).shape
    torch.Size([4, 3, 10])
    """


class WeightInjectedBatchNorm2d(WeightInjectedBatchNorm, nn.BatchNorm2d):
    """Batch normalization of (B, C, H, W) with a scale and a shift for each speaker.

    Example
    -------
    >>> from vofp_plugin.nnet.injection import inject_, injected
    >>> layer = inject_(nn.BatchNorm2d(3), ["*"])
    >>> with injected(layer, {"weight": torch.rand(2, 3), "bias": torch.rand(2, 3)}):
    ...     layer(torch.rand(4, 3, 5, 6)).shape
    torch.Size([4, 3, 5, 6])
    """


class WeightInjectedLayerNorm(WeightInjected, nn.LayerNorm):
    """Layer normalization with a scale and a shift for each speaker.

    Example
    -------
    >>> from vofp_plugin.nnet.injection import inject_, injected
    >>> layer = inject_(nn.LayerNorm(6), ["*"])
    >>> with injected(layer, {"weight": torch.rand(2, 6), "bias": torch.rand(2, 6)}):
    ...     layer(torch.rand(4, 10, 6)).shape
    torch.Size([4, 10, 6])
    """

    def batch_dims(self, x):
        """All dimensions but those that are normalized."""
        return range(x.dim() - len(self.normalized_shape))

    def _run_by_speaker(self, x):
        """Normalizes the last dimensions of `x` (B, *, *normalized_shape)."""
        num_speakers = self.num_speakers(x.shape[0])
        y = F.layer_norm(x, self.normalized_shape, eps=self.eps)
        y = y.reshape(num_speakers, -1, *self.normalized_shape)
        y = y * self.speaker_weight("weight", num_speakers).unsqueeze(1)
        bias = self.speaker_weight("bias", num_speakers)
        if bias is not None:
            y = y + bias.unsqueeze(1)
        return y.reshape(x.shape)


WEIGHT_INJECTED = {
    nn.Linear: WeightInjectedLinear,
    nn.Conv1d: WeightInjectedConv1d,
    nn.Conv2d: WeightInjectedConv2d,
    nn.BatchNorm1d: WeightInjectedBatchNorm1d,
    nn.BatchNorm2d: WeightInjectedBatchNorm2d,
    nn.LayerNorm: WeightInjectedLayerNorm,
}
