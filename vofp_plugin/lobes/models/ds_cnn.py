"""The default main model: a small depthwise-separable CNN that spots keywords.

Features are the input channels of 1-D convolutions over time, so a 1 s clip costs about one million
multiply-adds. Every parameter belongs to a plain `torch.nn` layer of its own name, so that targets
such as `blocks.*.pointwise.conv` can be weight-injected.
"""

from collections import OrderedDict

import torch
from torch import nn


class DepthwiseSeparableBlock(nn.Module):
    """A depthwise and a pointwise convolution over time with a residual connection.

    Arguments
    ---------
    channels : int
        Number of input and of output channels, C.
    kernel_size : int
        Width of the depthwise convolution in its input's frames, odd.

    Raises
    ------
    ValueError
        If `kernel_size` is even.

    Example
    -------
    >>> block = DepthwiseSeparableBlock(channels=8, kernel_size=9)
    >>> block(torch.randn(2, 8, 1, 51)).shape
    torch.Size([2, 8, 1, 51])
    """

    def __init__(self, channels, kernel_size):
        super().__init__()
        if kernel_size % 2 == 0:
            raise ValueError(
                f"Got kernel_size {kernel_size}; expected an odd number, which keeps the number of "
                "frames for the residual connection."
            )
        depthwise = nn.Conv2d(
            channels,
            channels,
            (1, kernel_size),
            padding=(0, kernel_size // 2),
            groups=channels,
            bias=False,
        )
        pointwise = nn.Conv2d(channels, channels, 1, bias=False)
        self.depthwise = with_norm(depthwise)
        self.pointwise = with_norm(pointwise)

    def forward(self, x):
        """Maps `x` (B, C, 1, T) to (B, C, 1, T)."""
        hidden = torch.relu(self.depthwise(x))
        return torch.relu(x + self.pointwise(hidden))


class DSCNN(nn.Module):
    """Depthwise-separable CNN from log-mel features in dB to log-probabilities of keywords.

    Arguments
    ---------
    num_classes : int
        Number of keywords.
    num_features : int
        Number of features of a frame, F.
    channels : int
        Number of hidden channels, C.
    num_blocks : int
        Number of depthwise-separable blocks behind the stem.
    kernel_size : int
        Width of the depthwise convolutions, odd, in frames behind the stem (every other one).

    Raises
    ------
    ValueError
        If `kernel_size` is even; from `forward`, if a frame does not have F features.

    Source
    ------
    Depthwise-separable convolutions for keyword spotting: Zhang, Suda, Lai, Chandra. Hello Edge:
    Keyword Spotting on Microcontrollers. arXiv:1711.07128, 2017. Convolution over time with
    features as channels: Choi et al. Temporal Convolution for Real-time Keyword Spotting on Mobile
    Devices. Interspeech 2019. The sizes are our own.

    Example
    -------
    >>> from vofp_plugin.utils.profiling import count_multiply_adds, count_parameters
    >>> model = DSCNN(num_classes=12)
    >>> features = torch.randn(2, 101, 40)
    >>> model(features).shape
    torch.Size([2, 12])
    >>> count_parameters(model), count_multiply_adds(model, features)
    (21996, 1048320)
    """

    def __init__(self, num_classes, num_features=40, channels=48, num_blocks=4, kernel_size=9):
        super().__init__()
        # Decibels in, zero mean and unit variance out; nothing to learn, nothing to inject.
        self.input_norm = nn.BatchNorm2d(num_features, affine=False)
        self.stem = with_norm(
            nn.Conv2d(num_features, channels, (1, 5), stride=(1, 2), padding=(0, 2), bias=False)
        )
        self.blocks = nn.Sequential(
            *(DepthwiseSeparableBlock(channels, kernel_size) for _ in range(num_blocks))
        )
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x, lens=None):
        """Maps features `x` (B, T, F) in dB to log-probabilities (B, num_classes), in nats.

        Whole clips are read, padding included, so `lens` changes nothing.
        """
        return torch.log_softmax(self.classifier(self.embed(x)), dim=1)

    def embed(self, x):
        """Maps features `x` (B, T, F) in dB to what the classifier reads, (B, C)."""
        if x.shape[-1] != self.input_norm.num_features:
            raise ValueError(
                f"Got {x.shape[-1]} features in a frame; expected {self.input_norm.num_features}: "
                "set num_features to what the front end gives."
            )
        x = self.input_norm(x.transpose(1, 2).unsqueeze(2))
        return self.blocks(torch.relu(self.stem(x))).mean(dim=(2, 3))


def with_norm(conv):
    """A convolution followed by batch normalization.

    Example
    -------
    >>> list(dict(with_norm(nn.Conv2d(3, 8, 1)).named_children()))
    ['conv', 'norm']
    """
    return nn.Sequential(OrderedDict(conv=conv, norm=nn.BatchNorm2d(conv.out_channels)))
