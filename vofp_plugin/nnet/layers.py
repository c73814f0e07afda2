"""Weight-injected layers: torch layers that run with one set of weights for each speaker.

Each class adds a way to run and nothing else: no parameter, no buffer, no constructor.
`vofp_plugin.nnet.injection.inject_` turns a layer of an existing model into one of these by setting
its `__class__`, so parameters and state-dict keys stay what they were.

A batch of B = N * Q items holds Q items of each of N speakers, speaker after speaker. The injected
weights are not on the layer but in `WEIGHTS`, of which every thread has its own: without any there
the layer is the plain torch layer, and a single speaker's weights run in the plain layer's way.
`vofp_plugin.nnet.kernels` has what runs for several.
"""

from contextvars import ContextVar
from types import MappingProxyType

import torch
import torch.nn.functional as F
from torch import nn

from vofp_plugin.nnet.factored import Factored
from vofp_plugin.nnet.kernels import convolve, linear, pointwise, scale_and_shift

# {layer: SpeakerWeights}, which `injection.injected` sets.
WEIGHTS = ContextVar("injected weights", default=MappingProxyType({}))


class WeightInjected:
    """What all weight-injected layers share: where weights and the batch are, and how to run."""

    batch_dim = 0  # of the input; `check_injection` sets another one where the batch is there

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
        weights = WEIGHTS.get().get(self)
        if weights is None:
            return super().forward(x)
        self._check_input(x)
        if weights.num_speakers == 1:
            return self.run_alone(x, weights.weight, weights.bias)
        if self.batch_dim:
            x = x.transpose(0, self.batch_dim)
        if len(x) % weights.num_speakers:
            raise ValueError(
                f"Got a batch of {len(x)} items for {weights.num_speakers} speakers; expected the "
                "same number of items for each speaker, speaker after speaker."
            )
        y = self._run_by_speaker(x, weights)
        return y.transpose(0, self.batch_dim) if self.batch_dim else y

    def _run_by_speaker(self, x, weights):
        if isinstance(weights.weight, Factored):
            return weights.weight.run(x, weights.bias, self)
        return self.run_together(x, weights.weight, weights.bias)

    def _check_input(self, x):
        """Refuses an input that torch would take for one item without a batch."""

    def batch_dims(self, x):
        """Dimensions of an input `x` which the layer does not mix, where the batch may be."""
        return range(1)


class WeightInjectedLinear(WeightInjected, nn.Linear):
    """Linear layer with a weight matrix for each speaker.

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

    output_channels = -1

    def run_alone(self, x, weight, bias):
        """The plain layer with a weight and a bias for everybody."""
        return F.linear(x, weight, bias)

    def run_together(self, x, weight, bias):
        """The layer with a weight (N, *) and a bias (N, O), or None, for each speaker."""
        return linear(x, weight, bias)


class WeightInjectedConv(WeightInjected):
    """Convolution with a kernel for each speaker."""

    def _check_input(self, x):
        if x.dim() != self.weight.dim():
            raise ValueError(
                f"Got an input of shape {tuple(x.shape)}; expected {self.weight.dim()} dimensions, "
                "the first one the batch."
            )

    output_channels = 1

    def run_alone(self, x, weight, bias):
        """The plain layer with a weight and a bias for everybody."""
        return self._conv_forward(x, weight, bias)

    def run_together(self, x, weight, bias):
        """The layer with a weight (N, *) and a bias (N, O), or None, for each speaker."""
        if self._is_pointwise():
            return pointwise(x, weight, bias)
        padding = self.padding
        if self.padding_mode != "zeros":
            x = F.pad(x, self._reversed_padding_repeated_twice, mode=self.padding_mode)
            padding = 0
        return convolve(x, weight, bias, self.stride, padding, self.dilation, self.groups)

    def _is_pointwise(self):
        return (
            self.groups == 1
            and set(self.kernel_size) == {1}
            and set(self.stride) == {1}
            and (self.padding == "valid" or set(self.padding) == {0})
        )


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


class WeightInjectedBatchNorm(WeightInjected):
    """Batch normalization with a scale and a shift for each speaker; statistics stay shared."""

    def _check_input(self, x):
        self._check_input_dim(x)

    def run_alone(self, x, weight, bias):
        """The plain layer with a weight and a bias for everybody."""
        return self._normalize(x, weight, bias)

    def _run_by_speaker(self, x, weights):
        """Normalizes `x` (B, C, *) over B and *, then scales and shifts it by speaker."""
        folded = weights.folded
        # Not where statistics were swapped since, as by `torch.func.functional_call`.
        if folded and folded.running_var is self.running_var and not self.training:
            return scale_and_shift(x, folded.scale, folded.shift)
        return scale_and_shift(self._normalize(x), weights.weight, weights.bias)

    def _normalize(self, x, weight=None, bias=None):
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
            weight,
            bias,
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

    def run_alone(self, x, weight, bias):
        """The plain layer with a weight and a bias for everybody."""
        return F.layer_norm(x, self.normalized_shape, weight, bias, self.eps)

    def _run_by_speaker(self, x, weights):
        y = F.layer_norm(x, self.normalized_shape, eps=self.eps)
        first = x.dim() - len(self.normalized_shape)
        return scale_and_shift(y, weights.weight, weights.bias, dim=first)


WEIGHT_INJECTED = {
    nn.Linear: WeightInjectedLinear,
    nn.Conv1d: WeightInjectedConv1d,
    nn.Conv2d: WeightInjectedConv2d,
    nn.BatchNorm1d: WeightInjectedBatchNorm1d,
    nn.BatchNorm2d: WeightInjectedBatchNorm2d,
    nn.LayerNorm: WeightInjectedLayerNorm,
}
