"""Subjects: the main models that are measured, and which of their layers are injected."""

from typing import NamedTuple

import torch
from speechbrain.lobes.models.ECAPA_TDNN import ECAPA_TDNN
from speechbrain.lobes.models.Xvector import Xvector

from vofp_plugin.lobes.models.bc_resnet import BCResNet
from vofp_plugin.lobes.models.ds_cnn import DSCNN

NORMS, ALL = "norms and last layer", "all layers"


class Subject(NamedTuple):
    """A main model and a batch for it.

    Arguments
    ---------
    make : callable
        Makes the model, untrained.
    items : int
        In a batch.
    norms : list of str
        Patterns on its norms and its last layer.
    """

    make: callable
    items: int
    norms: list

    def targets(self, layers):
        """Patterns on `NORMS` or `ALL` layers."""
        return self.norms if layers == NORMS else ["*"]

    def batch(self, items=None):
        """Features (B, 101, 40) and relative lengths (B,)."""
        items = self.items if items is None else items
        return torch.randn(items, 101, 40), torch.ones(items)


def _xvector():
    return Xvector(in_channels=40, tdnn_channels=[256] * 4 + [768], lin_neurons=128)


def _ecapa():
    channels = [128] * 4 + [384]
    return ECAPA_TDNN(40, lin_neurons=96, channels=channels, attention_channels=64, se_channels=64)


SUBJECTS = {
    "DSCNN": Subject(lambda: DSCNN(12), 64, ["*.norm", "classifier"]),
    "BC-ResNet-1": Subject(lambda: BCResNet(12), 64, ["*.norm", "classifier"]),
    "Xvector-256": Subject(_xvector, 16, ["*.norm", "*.w"]),
    "ECAPA-128": Subject(_ecapa, 16, ["*norm*", "fc*"]),
}
