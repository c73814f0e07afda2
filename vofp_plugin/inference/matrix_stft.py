"""STFT as a product with a matrix: the same numbers by operations that are fast everywhere.

onnxruntime's own operator is slow for frames whose length is no power of two: with it, a small
model took 2.8 times as long in all.
"""

import copy
import math

import torch
from speechbrain.processing.features import STFT
from torch import nn


class MatrixSTFT(nn.Module):
    """Puts out what SpeechBrain's STFT does, which it is made of.

    The matrix is computed in every call, so that an exported file does not hold it; runtimes do so
    once, when they load the file.

    Arguments
    ---------
    stft : speechbrain.processing.features.STFT
        One-sided.

    Example
    -------
    >>> stft, wavs = STFT(16000), torch.rand(2, 16000)
    >>> torch.allclose(MatrixSTFT(stft)(wavs), stft(wavs), atol=1e-3)
    True
    """

    def __init__(self, stft):
        super().__init__()
        self.size, self.hop = stft.n_fft, stft.hop_length
        self.padding = (self.size // 2, self.size // 2) if stft.center else (0, 0)
        self.pad_mode = stft.pad_mode
        before = (self.size - stft.win_length) // 2
        after = self.size - stft.win_length - before
        window = nn.functional.pad(stft.window, (before, after))
        self.register_buffer("window", window * (self.size**-0.5 if stft.normalized_stft else 1))

    def forward(self, wavs):
        """Maps waveforms (B, L) to spectra (B, T, F, 2), real and imaginary parts."""
        wavs = nn.functional.pad(wavs.unsqueeze(1), self.padding, mode=self.pad_mode)
        turns = torch.outer(torch.arange(self.size // 2 + 1), torch.arange(self.size))
        phases = 2 * math.pi / self.size * (turns % self.size).to(wavs)
        waves = torch.cat([phases.cos(), -phases.sin()]) * self.window
        spectra = nn.functional.conv1d(wavs, waves.unsqueeze(1), stride=self.hop)
        return spectra.unflatten(1, (2, -1)).permute(0, 3, 2, 1)


def with_matrix_stft(front_end):
    """Gives a copy of a front end, with a `MatrixSTFT` in the place of every STFT."""
    front_end = copy.deepcopy(front_end)
    computer = front_end.compute_features
    for module in computer.modules() if isinstance(computer, nn.Module) else ():
        for name, child in module.named_children():
            if isinstance(child, STFT) and child.onesided:
                setattr(module, name, MatrixSTFT(child))
    return front_end
