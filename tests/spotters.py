"""Keyword spotters made in a moment, of random weights or of none."""

import torch
from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.lobes.features import Fbank
from torch import nn

from vofp_plugin.dataio.front_end import FrontEnd
from vofp_plugin.inference.front_door import personalize
from vofp_plugin.inference.keyword_spotter import KeywordSpotter
from vofp_plugin.lobes.models.ds_cnn import DSCNN

WORDS = "no", "yes", "stop"


class AlwaysYes(nn.Module):
    """A model that hears one word in everything."""

    def __init__(self):
        super().__init__()
        self.log_probs = nn.Parameter(torch.tensor([0.05, 0.9, 0.05]).log())

    def forward(self, feats, lens=None, weights=None):
        return self.log_probs.expand(len(feats), -1)


def spotter_of(model):
    words = CategoricalEncoder()
    words.update_from_iterable(WORDS)
    return KeywordSpotter(
        {"model": model}, {"front_end": FrontEnd(Fbank(n_mels=40)), "label_encoder": words}
    )


def random_spotter():
    """A personalized one to which the enrollment makes a difference."""
    main_model = DSCNN(num_classes=len(WORDS), channels=8, num_blocks=1)
    model = personalize(main_model, FrontEnd(Fbank(n_mels=40))).mods.model
    nn.init.normal_(model.hyper_personalizer.mean.weight, std=0.1)
    return spotter_of(model)
