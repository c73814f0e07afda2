"""Augmentation that makes new speakers: one random vocal tract, pace and channel for each."""

import math

import torch
from torch import nn

from vofp_plugin.dataio.front_end import LOG_MEL_DB


class VirtualSpeaker(nn.Module):
    """Turns every voice of an episode into another one, alike in all of its utterances.

    Works on log-mels: the frequency axis is stretched as by another vocal-tract length, the time
    axis as by another tempo, and a slope and a ripple over frequency are added as by another
    voice and microphone. Only a shift in time and the level differ between utterances.

    Arguments
    ---------
    warp : float
        Largest relative change of frequency, e.g. 0.15.
    tempo : float
        Largest relative change of tempo.
    tilt : float
        Largest level change at both ends of the frequency axis, in dB.
    ripple : float
        Largest level of each of three cosines over the frequency axis, in dB.
    shift : float
        Largest shift in time, as a share of the clip.
    gain : float
        Largest change of level, in dB.
    sample_rate : int
        Of the front end, in Hz: half of it is where the frequency axis ends.

    Raises
    ------
    ValueError
        If a share is not from 0 to below 1, or a level below 0 dB.

    Example
    -------
    >>> virtual_speaker = VirtualSpeaker(warp=0.15, tempo=0.1)
    >>> voices = torch.tensor([0, 0, 0, 1, 1, 1])
    >>> virtual_speaker(torch.rand(6, 101, 40), voices, rooms=voices).shape
    torch.Size([6, 101, 40])
    """

    space = LOG_MEL_DB

    def __init__(
        self, warp=0.0, tempo=0.0, tilt=0.0, ripple=0.0, shift=0.0, gain=0.0, sample_rate=16000
    ):
        super().__init__()
        for name, share in {"warp": warp, "tempo": tempo, "shift": shift}.items():
            if not 0 <= share < 1:
                raise ValueError(f"Got {name} {share}; expected a share, from 0 to below 1.")
        for name, level in {"tilt": tilt, "ripple": ripple, "gain": gain}.items():
            if not 0 <= level < math.inf:
                raise ValueError(f"Got {name} {level}; expected a level in dB, at least 0.")
        self.warp, self.tempo = warp, tempo
        self.tilt, self.ripple = tilt, ripple
        self.shift, self.gain = shift, gain
        self.highest = sample_rate / 2

    def forward(self, feats, voices, rooms, generator=None):
        """Changes `feats` (B, T, F), in dB, by their `voices` (B,), whatever their `rooms`."""
        voices = voices.cpu()
        num_voices = int(voices.max()) + 1

        def per_voice(most):
            return ((2 * torch.rand(num_voices, 1, 1, generator=generator) - 1) * most)[voices]

        def per_utterance(most):
            return (2 * torch.rand(len(feats), 1, 1, generator=generator) - 1) * most

        _, num_frames, num_bands = feats.shape
        # Places in [-1, 1] over time and frequency from which the new features are read.
        time = torch.linspace(-1, 1, num_frames).view(1, -1, 1)
        time = time * (1 + per_voice(self.tempo)) + per_utterance(2 * self.shift)
        band = torch.linspace(0, 1, num_bands).view(1, 1, -1)
        source = warp_band(band, 1 + per_voice(self.warp), self.highest) * 2 - 1
        grid = torch.stack(torch.broadcast_tensors(source, time), dim=-1).to(feats.device)
        warped = nn.functional.grid_sample(
            feats.unsqueeze(1), grid, padding_mode="border", align_corners=True
        )
        colour = per_voice(self.tilt) * (2 * band - 1) + per_utterance(self.gain)
        for wave in (1, 2, 3):
            colour = colour + per_voice(self.ripple) * torch.cos(math.pi * wave * band)
        return warped.squeeze(1) + colour.to(feats.device)


def warp_band(band, factor, highest):
    """Place on a mel axis in [0, 1] of the frequency that is `factor` times that of `band`.

    Arguments
    ---------
    band : torch.Tensor
        Places on a mel axis from 0 Hz to `highest`, in [0, 1].
    factor : torch.Tensor
        Ratio of frequencies.
    highest : float
        In Hz.

    Example
    -------
    >>> warp_band(torch.tensor(0.5), torch.tensor(1.0), highest=8000.0).item()
    0.5
    """
    top = math.log1p(highest / 700)
    hertz = 700 * torch.expm1(band * top)
    return torch.log1p(hertz * factor / 700) / top
