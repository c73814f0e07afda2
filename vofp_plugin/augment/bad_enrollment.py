"""Bad enrollments, made of good ones, to measure what they do."""

import json

import torch

from vofp_plugin.dataio.noise import random_chunks
from vofp_plugin.utils.seeds import choice_of, seeded

UTTERANCE_KINDS = ("silence", "noise", "clipped", "slightly_clipped")
TWO_SPEAKERS = "two_speakers"


class BadCondition:
    """Spoils every utterance of a manifest in one way, drawn once for all.

    Takes the place of a `NoiseCondition` (vofp_plugin/dataio/features.py).

    Arguments
    ---------
    kind : str
        "silence" (a room at -90 to -60 dB of full scale), "noise" (noise as loud as the
        utterance was, without it), "clipped" (20 to 30 dB too loud, cut at full scale) or
        "slightly_clipped" (so loud that 0.5 to 4 % of the samples are cut).
    noises : list of torch.Tensor
        (L,) each, longer than a clip; a speaker has one of them.

    Raises
    ------
    ValueError
        If `kind` is another word.

    Example
    -------
    >>> condition = BadCondition("clipped", [torch.rand(100)])
    >>> wav = condition.add(torch.linspace(-0.1, 0.1, 50), {"ID": "up_1", "spk_id": "anna"})
    >>> (wav.abs() == 1).float().mean() > 0.8
    tensor(True)
    """

    def __init__(self, kind, noises):
        if kind not in UTTERANCE_KINDS:
            raise ValueError(f"Got kind {kind!r}; expected one of {UTTERANCE_KINDS}.")
        self.kind = kind
        self.noises = noises

    def add(self, wav, row):
        """Spoils the clip (L,) of a manifest row."""
        generator = seeded(self.kind, row["ID"])
        if self.kind == "clipped":
            gain = _draw_gain(20.0, 30.0, generator)
            return (gain * wav / wav.abs().max().clamp(min=1e-9)).clamp(-1, 1)
        if self.kind == "slightly_clipped":
            share = 0.005 + 0.035 * torch.rand(1, generator=generator).item()
            size = wav.abs()[wav != 0]  # without padding
            return (wav / size.quantile(1 - share)).clamp(-1, 1) if len(size) else wav
        noise = choice_of(self.noises, row["spk_id"])
        chunk = random_chunks(noise, len(wav), 1, generator)[0]
        level = _draw_gain(-90.0, -60.0, generator) if self.kind == "silence" else _level(wav)
        return chunk * level / _level(chunk).clamp(min=1e-9)

    def fingerprint(self):
        """What tells this condition from others, as text."""
        return json.dumps([self.kind, [noise.double().abs().sum().item() for noise in self.noises]])


def two_speakers(own, stranger):
    """Replaces the later half of K utterances, rounded down, by a stranger's.

    Arguments
    ---------
    own : list
        K utterances of a speaker, or whatever stands for them, such as their places.
    stranger : list
        At least K // 2 of another.

    Returns
    -------
    list
        K utterances.

    Raises
    ------
    ValueError
        If there are fewer than two utterances, or the stranger has too few.

    Example
    -------
    >>> two_speakers(["a1", "a2", "a3"], ["b1", "b2", "b3"])
    ['a1', 'a2', 'b3']
    """
    strangers = len(own) // 2
    if strangers == 0 or len(stranger) < strangers:
        raise ValueError(
            f"Got {len(own)} own and {len(stranger)} stranger's utterances; expected at least 2 "
            "and half as many."
        )
    return [*own[: len(own) - strangers], *stranger[-strangers:]]


def _draw_gain(low, high, generator):
    """Factor of a gain drawn between two numbers of dB."""
    return 10 ** ((low + (high - low) * torch.rand(1, generator=generator)) / 20)


def _level(wav):
    return wav.square().mean().sqrt()
