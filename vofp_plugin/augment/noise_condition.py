"""Noise conditions: noise that is added to the utterances of a manifest, drawn once for all."""

import json

import torch

from vofp_plugin.dataio.noise import mix, random_chunks
from vofp_plugin.utils.seeds import choice_of, seeded


class NoiseCondition:
    """Noise of the utterances of a manifest, of one kind for each speaker, drawn once for all.

    Arguments
    ---------
    noises : list of torch.Tensor
        (L,) each, longer than a clip; a speaker has one of them.
    snr : list of float
        Lowest and highest signal-to-noise ratio, in dB.

    Example
    -------
    >>> condition = NoiseCondition([torch.rand(100), torch.rand(100)], [5.0, 10.0])
    >>> row = {"ID": "up_1", "spk_id": "anna"}
    >>> condition.add(torch.rand(50), row).shape
    torch.Size([50])
    """

    def __init__(self, noises, snr):
        self.noises = noises
        self.snr = snr

    def add(self, wav, row):
        """Adds noise to the clip (L,) of a manifest row."""
        noise = self._noise(row)
        generator = self._generator(row)
        chunk = random_chunks(noise, len(wav), 1, generator)
        low, high = self.snr
        snr = low + (high - low) * torch.rand(1, generator=generator)
        return mix(wav.unsqueeze(0), chunk, snr)[0]

    def fingerprint(self):
        """What tells this condition from others, as text."""
        noises = [noise.double().abs().sum().item() for noise in self.noises]
        return json.dumps([self.snr, noises])

    def _noise(self, row):
        return choice_of(self.noises, row["spk_id"])

    def _generator(self, row):
        return seeded(row["ID"])


class OwnNoiseCondition(NoiseCondition):
    """Noise of its own in every utterance, other noise where it enrolls than where it is asked.

    Arguments
    ---------
    noises : list of torch.Tensor
        (L,) each, longer than a clip; an utterance has one of them.
    snr : list of float
        Lowest and highest signal-to-noise ratio, in dB.
    use : str
        What the utterances are for, such as "query": each use has draws of its own.

    Example
    -------
    >>> condition = OwnNoiseCondition([torch.rand(100), torch.rand(100)], [10.0, 20.0], "query")
    >>> condition.add(torch.rand(50), {"ID": "up_1", "spk_id": "anna"}).shape
    torch.Size([50])
    """

    def __init__(self, noises, snr, use):
        super().__init__(noises, snr)
        self.use = use

    def fingerprint(self):
        """What tells this condition from others, as text."""
        return f"own noise of {self.use}: {super().fingerprint()}"

    def _noise(self, row):
        return choice_of(self.noises, "own noise", self.use, row["ID"])

    def _generator(self, row):
        return seeded("own noise", self.use, row["ID"])
