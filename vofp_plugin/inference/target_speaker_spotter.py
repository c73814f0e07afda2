"""Target-speaker spotter: the words of the enrolled speaker, and of nobody else."""

import torch
from torch.nn.functional import logsigmoid

from vofp_plugin.inference.claims import ClaimInterface
from vofp_plugin.inference.keyword_spotter import KeywordSpotter
from vofp_plugin.lobes.decision import log_odds


class TargetSpeakerSpotter(ClaimInterface, KeywordSpotter):
    """A `KeywordSpotter` whose probabilities are of a word said by the speaker of the profile.

    What is rejected is told as "unknown". Without a profile the speaker is not judged.

    Example
    -------
    >>> spotter = TargetSpeakerSpotter.from_hparams("pretrained/target-speaker-keywords")
    >>> from vofp_plugin.inference.shipped import SAMPLES
    >>> anna = spotter.enroll(sorted(SAMPLES.glob("anna_enroll_*.flac")))
    >>> score, accepted = spotter.verify(SAMPLES / "anna_right.flac", anna)
    """

    HPARAMS_NEEDED = ["front_end", "label_encoder", "decision"]

    def conclude(self, rows):
        """Log-probabilities (B, C) of "this word, by this speaker" of rows (B, C + 1)."""
        return logsigmoid(self._log_odds(rows))

    def claim_scores(self, rows):
        """Scores (B,), in nats, that the speaker said a word of the model."""
        return self._log_odds(rows).amax(dim=1)

    def _threshold(self, far):
        return self.hparams.decision.threshold_at(far)

    def _log_odds(self, rows):
        words, speaker = log_odds(rows[:, :-1]), rows[:, -1:]
        return self.hparams.decision(torch.stack([words, speaker.expand_as(words)], dim=-1))
