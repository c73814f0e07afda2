"""BC-ResNet, the larger main model: a keyword spotter with broadcasted residual connections.

Hidden maps have shape (B, C, H, T) with H frequencies. Most of the work is done on their mean over
frequency, (B, C, 1, T), and broadcast back. Every parameter belongs to a plain `torch.nn` layer, so
that targets such as `blocks.*.pointwise.conv` can be weight-injected.
"""

from collections import OrderedDict
from typing import NamedTuple

import torch
from torch import nn

NUM_FEATURES = 40  # after three strides of 2 the head sees 5 frequencies, one in each sub-band
NUM_SUB_BANDS = 5


class Stage(NamedTuple):
    """Blocks of one width and dilation; the first block changes the shape.

    Arguments
    ---------
    num_blocks : int
        Number of blocks.
    channels : int
        Number of channels C at scale 1.
    stride : int
        Stride over frequency of the first block.
    dilation : int
        Dilation over time, in frames.

    Example
    -------
    >>> Stage(num_blocks=2, channels=12, stride=2, dilation=2).channels
    12
    """

    num_blocks: int
    channels: int
    stride: int
    dilation: int


STAGES = (Stage(2, 8, 1, 1), Stage(2, 12, 2, 2), Stage(4, 16, 2, 4), Stage(4, 20, 1, 8))
STEM_CHANNELS = 16
HEAD_CHANNELS = 32


class FrequencyConv(nn.Module):
    """Depthwise convolution over frequency with sub-spectral normalization.

    Each sub-band of each channel is normalized with its own statistics, scale and shift: batch
    normalization of the sub-bands as channels.

    Arguments
    ---------
    channels : int
        Number of channels C.
    stride : int
        Stride over frequency; H / stride is a multiple of the number of sub-bands.

    Source
    ------
    Chang et al. Subspectral Normalization for Neural Audio Data Processing. ICASSP 2021.

    Example
    -------
    >>> FrequencyConv(channels=8, stride=2)(torch.randn(3, 8, 20, 101)).shape
    torch.Size([3, 8, 10, 101])
    """

    def __init__(self, channels, stride):
        super().__init__()
        self.conv = nn.Conv2d(
            channels,
            channels,
            kernel_size=(3, 1),
            stride=(stride, 1),
            padding=(1, 0),
            groups=channels,
            bias=False,
        )
        self.norm = nn.BatchNorm2d(NUM_SUB_BANDS * channels)

    def forward(self, x):
        """Maps `x` (B, C, H, T) to (B, C, H / stride, T)."""
        x = self.conv(x)
        batch_size, channels, height, num_frames = x.shape
        bands = (batch_size, channels * NUM_SUB_BANDS, height // NUM_SUB_BANDS, num_frames)
        return self.norm(x.reshape(bands)).reshape(x.shape)


class BroadcastedBlock(nn.Module):
    """Residual block that convolves over time only the mean over frequency.

    Arguments
    ---------
    in_channels : int
        Number of input channels. If it differs from `channels`, a transition convolution comes
        first and the input is not added to the output.
    channels : int
        Number of output channels C.
    stride : int
        Stride over frequency, 1 unless the number of channels changes.
    dilation : int
        Dilation over time, in frames.
    dropout : float
        Probability of dropping a channel of the broadcast part.

    Example
    -------
    >>> block = BroadcastedBlock(in_channels=8, channels=12, stride=2, dilation=2, dropout=0.1)
    >>> block(torch.randn(3, 8, 20, 101)).shape
    torch.Size([3, 12, 10, 101])
    """

    def __init__(self, in_channels, channels, stride, dilation, dropout):
        super().__init__()
        self.is_transition = in_channels != channels or stride != 1
        if self.is_transition:
            self.transition = _named(
                conv=nn.Conv2d(in_channels, channels, 1, bias=False),
                norm=nn.BatchNorm2d(channels),
                activation=nn.ReLU(),
            )
        self.frequency = FrequencyConv(channels, stride)
        self.temporal = _named(
            conv=nn.Conv2d(
                channels,
                channels,
                kernel_size=(1, 3),
                padding=(0, dilation),
                dilation=(1, dilation),
                groups=channels,
                bias=False,
            ),
            norm=nn.BatchNorm2d(channels),
            activation=nn.SiLU(),
        )
        self.pointwise = _named(
            conv=nn.Conv2d(channels, channels, 1, bias=False), dropout=nn.Dropout2d(dropout)
        )

    def forward(self, x):
        """Maps `x` (B, in_channels, H, T) to (B, C, H / stride, T)."""
        y = self.frequency(self.transition(x) if self.is_transition else x)
        broadcast = self.pointwise(self.temporal(y.mean(dim=2, keepdim=True)))
        y = y + broadcast
        return torch.relu(y if self.is_transition else x + y)


class BCResNet(nn.Module):
    """BC-ResNet from 40 log-mel features in dB to log-probabilities of keywords.

    With 12 classes the numbers of parameters are those of the source. The multiply-adds of 1 s
    (101 frames) are those of convolutions and matrix products; what else the source counts, it
    does not say.

    ===== ========== ====== ============= ======
    scale parameters source multiply-adds source
    ===== ========== ====== ============= ======
    1          9,232   9.2k        2.48 M  3.1 M
    1.5       17,154  17.2k        4.61 M  5.5 M
    2         27,284  27.3k        7.32 M  8.5 M
    3         54,168  54.2k       14.52 M 16.2 M
    6        187,812   188k       50.28 M 53.1 M
    8        321,068   321k       85.92 M 89.1 M
    ===== ========== ====== ============= ======

    Arguments
    ---------
    num_classes : int
        Number of keywords.
    scale : float
        Factor on the width of every layer; 1, 1.5, 2, 3, 6 and 8 are the sizes of the source.
    dropout : float
        Probability of dropping a channel in each block.

    Raises
    ------
    ValueError
        From `forward`, if a frame does not have 40 features.

    Source
    ------
    Kim, Chang, Lee, Sung. Broadcasted Residual Learning for Efficient Keyword Spotting.
    Interspeech 2021, arXiv:2106.04140. Written from its text and Table 1; the normalization of the
    input is our own.

    Example
    -------
    >>> from vofp_plugin.utils.profiling import count_parameters
    >>> model = BCResNet(num_classes=12)
    >>> model(torch.randn(2, 101, 40)).shape
    torch.Size([2, 12])
    >>> count_parameters(model)
    9232
    """

    def __init__(self, num_classes, scale=1, dropout=0.1):
        super().__init__()
        # Decibels in, zero mean and unit variance out; nothing to learn, nothing to inject.
        self.input_norm = nn.BatchNorm1d(NUM_FEATURES, affine=False)
        channels = round(scale * STEM_CHANNELS)
        self.stem = _named(
            conv=nn.Conv2d(1, channels, 5, stride=(2, 1), padding=2, bias=False),
            norm=nn.BatchNorm2d(channels),
            activation=nn.ReLU(),
        )
        self.blocks = _blocks(channels, scale, dropout)
        channels, head_channels = round(scale * STAGES[-1].channels), round(scale * HEAD_CHANNELS)
        self.head = _named(
            depthwise=nn.Conv2d(channels, channels, 5, padding=(0, 2), groups=channels, bias=False),
            pointwise=nn.Conv2d(channels, head_channels, 1, bias=False),
            norm=nn.BatchNorm2d(head_channels),
            activation=nn.ReLU(),
        )
        self.classifier = nn.Linear(head_channels, num_classes)

    def forward(self, x, lens=None):
        """Maps features `x` (B, T, 40) in dB to log-probabilities (B, num_classes), in nats.

        Whole clips are read, padding included, so `lens` changes nothing.
        """
        return torch.log_softmax(self.classifier(self.embed(x)), dim=1)

    def embed(self, x):
        """Maps features `x` (B, T, 40) in dB to what the classifier reads, (B, C)."""
        if x.shape[-1] != NUM_FEATURES:
            raise ValueError(
                f"Got {x.shape[-1]} features in a frame; expected {NUM_FEATURES}: change the front "
                "end or take another main model."
            )
        x = self.input_norm(x.transpose(1, 2)).unsqueeze(1)
        return self.head(self.blocks(self.stem(x))).mean(dim=(2, 3))


def _blocks(in_channels, scale, dropout):
    blocks = []
    for stage in STAGES:
        channels = round(scale * stage.channels)
        for index in range(stage.num_blocks):
            stride = 1 if index else stage.stride
            blocks.append(BroadcastedBlock(in_channels, channels, stride, stage.dilation, dropout))
            in_channels = channels
    return nn.Sequential(*blocks)


def _named(**layers):
    return nn.Sequential(OrderedDict(layers))
