"""Inference classes made in a moment, of random weights or of none."""

from functools import wraps

import torch
from speechbrain.dataio.encoder import CategoricalEncoder
from speechbrain.lobes.features import Fbank
from torch import nn

from vofp_plugin.dataio.front_end import FrontEnd
from vofp_plugin.inference.front_door import personalize
from vofp_plugin.inference.keyword_spotter import KeywordSpotter
from vofp_plugin.inference.personal_keyword_spotter import PersonalKeywordSpotter
from vofp_plugin.lobes.decision import Decision, OperatingPoint
from vofp_plugin.lobes.detection_head import CosineHead, DetectionHead
from vofp_plugin.lobes.detector import Detector
from vofp_plugin.lobes.keyword_detector import KeywordDetector
from vofp_plugin.lobes.keyword_head import KeywordHead, WordHead
from vofp_plugin.lobes.models.ds_cnn import DSCNN
from vofp_plugin.lobes.models.keyword_trunk import KeywordTrunk
from vofp_plugin.lobes.models.trunk import Trunk
from vofp_plugin.lobes.soft_and import SoftAnd

WORDS = "no", "yes", "stop"
# One that rejects all, and one that accepts all.
POINTS = OperatingPoint(0.01, 1e9, 1.0), OperatingPoint(0.05, -1e9, 0.0)


class AlwaysYes(nn.Module):
    """A model that hears one word in everything."""

    def __init__(self):
        super().__init__()
        self.log_probs = nn.Parameter(torch.tensor([0.05, 0.9, 0.05]).log())

    def forward(self, feats, lens=None, weights=None):
        return self.log_probs.expand(len(feats), -1)


def spotter_of(model, kind=KeywordSpotter, **hparams):
    words = CategoricalEncoder()
    words.update_from_iterable(WORDS)
    front_end = FrontEnd(Fbank(n_mels=40))
    return kind({"model": model}, {"front_end": front_end, "label_encoder": words, **hparams})


def same_in_every_run(make):
    """A maker of random models, also for modules and sessions, which no test's seed reaches."""

    @wraps(make)
    def seeded(*arguments):
        with torch.random.fork_rng():
            torch.manual_seed(1)  # whose answers are neither sure nor a toss-up
            return make(*arguments)

    return seeded


@same_in_every_run
def random_spotter():
    """A personalized one to which the enrollment makes a difference."""
    main_model = DSCNN(num_classes=len(WORDS), channels=8, num_blocks=1)
    model = personalize(main_model, FrontEnd(Fbank(n_mels=40))).mods.model
    nn.init.normal_(model.hyper_personalizer.mean.weight, std=0.1)
    return spotter_of(model)


@same_in_every_run
def random_detector(kind, num_scores):
    """A `ClaimInterface` of that class, whose decision reads so many scores."""
    decision = Decision(SoftAnd(num_scores), 0.0, POINTS)
    if kind is PersonalKeywordSpotter:
        trunk = KeywordTrunk(DSCNN(num_classes=1, channels=6, num_blocks=1))
        head = KeywordHead(WordHead(trunk.word_size, 8), CosineHead(trunk.embedding_size, 8))
        return spotter_of(KeywordDetector(trunk, head), kind, decision=decision)
    trunk = Trunk(DSCNN(num_classes=len(WORDS), channels=6, num_blocks=1))
    model = Detector(trunk, DetectionHead(trunk.embedding_size, code_size=8))
    return spotter_of(model, kind, decision=decision)
