"""Target-speaker spotter: the words of the enrolled speaker, and of nobody else."""

import torch

from vofp_plugin.inference.claims import ClaimInterface
from vofp_plugin.inference.keyword_spotter import KeywordSpotter
from vofp_plugin.lobes.decision import class_log_odds, log_probability


class TargetSpeakerSpotter(ClaimInterface, KeywordSpotter):
    """A `KeywordSpotter` whose probabilities are of a word said by the speaker of the profile.

    What is rejected is told as "unknown". Without a profile nobody is the
    target, so all is unlikely.

    Example
    -------
    >>> from speechbrain.dataio.encoder import CategoricalEncoder
    >>> from speechbrain.lobes.features import Fbank
    >>> from vofp_plugin.dataio.front_end import FrontEnd
    >>> from vofp_plugin.lobes.decision import Decision
    >>> from vofp_plugin.lobes.detection_head import DetectionHead
    >>> from vofp_plugin.lobes.detector import Detector
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> from vofp_plugin.lobes.models.trunk import Trunk
    >>> from vofp_plugin.lobes.soft_and import SoftAnd
    >>> trunk, words = Trunk(DSCNN(num_classes=2)), CategoricalEncoder()
    >>> words.update_from_iterable(["no", "yes"])
    >>> hparams = {"front_end": FrontEnd(Fbank(n_mels=40)), "label_encoder": words}
    >>> hparams["decision"] = Decision(SoftAnd(2), threshold=0.0)
    >>> model = Detector(trunk, DetectionHead(trunk.embedding_size))
    >>> spotter = TargetSpeakerSpotter({"model": model}, hparams)  # or from_hparams(...)
    >>> anna = spotter.enroll([torch.rand(16000)])
    >>> log_probs, score, index, text = spotter.classify_batch(torch.rand(3, 16000), profiles=anna)
    >>> score, accepted = spotter.verify(torch.rand(16000), anna)
    """

    HPARAMS_NEEDED = ["front_end", "label_encoder", "decision"]

    def conclude(self, rows):
        """Log-probabilities (B, C) of "this word, by this speaker" of rows (B, C + 1)."""
        return log_probability(self._log_odds(rows))

    def claim_scores(self, rows):
        """Scores (B,), in nats, that the speaker said a word of the model."""
        return self._log_odds(rows).amax(dim=1)

    def _threshold(self, far):
        return self.hparams.decision.threshold_at(far)

    def _log_odds(self, rows):
        words, speaker = class_log_odds(rows[:, :-1]), rows[:, -1:]
        return self.hparams.decision(torch.stack([words, speaker.expand_as(words)], dim=-1))
