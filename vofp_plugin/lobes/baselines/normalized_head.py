"""Adaptive symmetric score normalization (s-norm) of the cosine: a baseline with a cohort."""

import torch

from vofp_plugin.lobes.detection_head import CosineHead


class NormalizedCosineHead(CosineHead):
    """The cosine, normalized by how enrollment and query score against a cohort.

    Scores of the nearest of the cohort give a mean and a standard deviation for each side; the
    score is the mean of both normalized ones. The cohort is kept with the model.

    Arguments
    ---------
    embedding_size : int
        E.
    code_size : int
        D.
    cohort_size : int
        Utterances of training speakers that are kept.
    nearest : int
        How many of them give the statistics.

    Source
    ------
    Matejka et al. Analysis of score normalization in multilingual speaker recognition.
    Interspeech 2017.

    Example
    -------
    >>> head = NormalizedCosineHead(embedding_size=20, code_size=8, cohort_size=50).eval()
    >>> codes = head.encode(torch.rand(60, 20))
    >>> head.keep_cohort(codes[:50])
    >>> weights = head.weights(head.summarize(codes[50:54].view(2, 2, 8)))
    >>> head.all_pairs(codes[54:], weights).shape  # 2 speakers, 6 queries
    torch.Size([2, 6])
    """

    def __init__(self, embedding_size, code_size=64, cohort_size=400, nearest=100):
        super().__init__(embedding_size, code_size)
        self.nearest = min(nearest, cohort_size)
        self.register_buffer("cohort", torch.zeros(cohort_size, code_size))

    def keep_cohort(self, codes):
        """Keeps codes (U, D) of training speakers, evenly taken of as many as there are."""
        size = len(self.cohort)
        if len(codes) < size:
            raise ValueError(
                f"Got {len(codes)} codes for a cohort of {size}; expected as many: lower "
                "cohort_size."
            )
        self.cohort.copy_(codes[torch.linspace(0, len(codes) - 1, size).long()])

    def weights(self, summary):
        """Makes the layer of every speaker; calibration comes after the normalization."""
        return self._raw_weights(summary)

    def forward(self, codes, weights=None):
        """Scores queries (N * Q, D), Q of each speaker: (N * Q,); 0 without enrollment."""
        scores = super().forward(codes, weights)
        if weights is None:
            return scores
        mine = [x.repeat_interleave(len(codes) // len(x)) for x in self._of_speakers(weights)]
        return self._normalized(scores, mine, self._of_queries(codes)) * (scores != 0)

    def all_pairs(self, codes, weights):
        """Scores every query (B, D) as every speaker: (N, B)."""
        scores = super().all_pairs(codes, weights)
        mine = [x.unsqueeze(1) for x in self._of_speakers(weights)]
        return self._normalized(scores, mine, self._of_queries(codes)) * (scores != 0)

    def _of_speakers(self, weights):
        return self._statistics(super().all_pairs(self.cohort, weights))

    def _of_queries(self, codes):
        return self._statistics(self.log_scale.exp() * codes @ self.cohort.T)

    def _statistics(self, scores):
        """Mean and standard deviation (B,) of the highest scores (B, cohort) of each."""
        nearest = scores.topk(self.nearest, dim=1).values
        return nearest.mean(dim=1), nearest.std(dim=1).clamp(min=1e-4)

    def _normalized(self, scores, *sides):
        mean = sum((scores - mean) / std for mean, std in sides) / len(sides)
        return self.scale * mean + self.offset
