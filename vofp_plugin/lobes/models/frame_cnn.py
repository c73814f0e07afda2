"""A main model that answers in every frame: a small causal CNN."""

import torch
from torch import nn

from vofp_plugin.lobes.models.ds_cnn import with_norm


class CausalBlock(nn.Module):
    """A depthwise and a pointwise convolution that see no frame to come, with a residual.

    Arguments
    ---------
    channels : int
        C.
    kernel_size : int
        Frames seen, the present one and earlier ones.

    Example
    -------
    >>> CausalBlock(channels=8, kernel_size=5)(torch.randn(2, 8, 1, 51)).shape
    torch.Size([2, 8, 1, 51])
    """

    def __init__(self, channels, kernel_size):
        super().__init__()
        self.past = kernel_size - 1
        kernel = (1, kernel_size)
        self.depthwise = with_norm(
            nn.Conv2d(channels, channels, kernel, groups=channels, bias=False)
        )
        self.pointwise = with_norm(nn.Conv2d(channels, channels, 1, bias=False))

    def forward(self, x):
        """Maps `x` (B, C, 1, T) to (B, C, 1, T)."""
        hidden = torch.relu(self.depthwise(nn.functional.pad(x, (self.past, 0))))
        return torch.relu(x + self.pointwise(hidden))


class FrameCNN(nn.Module):
    """Causal depthwise-separable CNN from log-mels to log-probabilities of every frame.

    Arguments
    ---------
    num_classes : int
    num_features : int
        F.
    channels : int
        C.
    num_blocks : int
    kernel_size : int
        Frames seen by each block.

    Example
    -------
    >>> FrameCNN(num_classes=2)(torch.randn(3, 101, 40)).shape
    torch.Size([3, 101, 2])
    """

    def __init__(self, num_classes, num_features=40, channels=32, num_blocks=3, kernel_size=9):
        super().__init__()
        self.input_norm = nn.BatchNorm2d(num_features, affine=False)
        self.stem = with_norm(nn.Conv2d(num_features, channels, 1, bias=False))
        self.blocks = nn.Sequential(
            *(CausalBlock(channels, kernel_size) for _ in range(num_blocks))
        )
        self.classifier = nn.Linear(channels, num_classes)

    def forward(self, x, lens=None):
        """Maps features `x` (B, T, F) to log-probabilities (B, T, num_classes), in nats.

        No frame sees a later one, so padding changes nothing before it, whatever `lens`.
        """
        frames = self.activations(x)[-1].squeeze(2).transpose(1, 2)
        return torch.log_softmax(self.classifier(frames), dim=2)

    def activations(self, x):
        """What each block puts out for features `x` (B, T, F): a list of (B, C, 1, T)."""
        x = self.input_norm(x.transpose(1, 2).unsqueeze(2))
        x, activations = torch.relu(self.stem(x)), []
        for block in self.blocks:
            x = block(x)
            activations.append(x)
        return activations
