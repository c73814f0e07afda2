"""The detector of personal keywords: any word that was enrolled, by anybody or by one speaker."""

import copy

from vofp_plugin.lobes.detector import Detector


class KeywordDetector(Detector):
    """A trunk and two heads, behind the calls of `PersonalizedModel`.

    Arguments
    ---------
    main_model : KeywordTrunk
        Maps features (B, T, F) and relative lengths (B,) to embeddings of word and voice.
    head : KeywordHead

    Example
    -------
    >>> import torch
    >>> from vofp_plugin.lobes.detection_head import CosineHead
    >>> from vofp_plugin.lobes.enrollment import Enrollment
    >>> from vofp_plugin.lobes.keyword_head import KeywordHead, WordHead
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> from vofp_plugin.lobes.models.keyword_trunk import KeywordTrunk
    >>> trunk = KeywordTrunk(DSCNN(num_classes=1))
    >>> head = KeywordHead(WordHead(trunk.word_size), CosineHead(trunk.embedding_size))
    >>> model = KeywordDetector(trunk, head).eval()
    >>> weights = model.personalize(Enrollment(torch.rand(2, 3, 101, 40), torch.ones(2, 3)))
    >>> model(torch.rand(8, 101, 40), weights=weights).shape  # word and voice
    torch.Size([8, 2])
    """

    def hear(self, feats, lens=None):
        """None, since no words are classified, and codes (B, D) of features (B, T, F)."""
        return None, self.head.encode(*self.main_model(feats, lens))

    def forward(self, feats, lens=None, weights=None):
        """Scores of word and voice, (N * Q, 2), of Q items of each of N targets.

        Arguments are those of `Detector`. Without enrollment no word is detected.
        """
        _, codes = self.hear(feats, lens)
        return self.head(codes, weights)

    def offered(self, feats, lens, weights):
        """Scores of one clip as each of N targets, (N, 2); see `Detector.offered`."""
        _, codes = self.hear(feats, lens)
        return self.head.all_pairs(codes, weights).squeeze(1)

    def merge(self, weights):
        """Writes one target's weights into a plain copy of this model."""
        plain = copy.deepcopy(self)
        layers = plain.head.merge(weights)
        plain.head.word.detector, plain.head.voice.detector = layers
        return plain
