"""A network that reads the query, modulated by the enrollment: a baseline detection head."""

import torch
from torch import nn

from vofp_plugin.lobes.detection_head import DetectionHead


class FilmHead(DetectionHead):
    """Feature-wise linear modulation: the enrollment scales and shifts a hidden layer.

    Its output is the logit of "target" against a reject class. It has learned from examples alone
    what a target is; no probability model stands behind it.

    Arguments
    ---------
    embedding_size : int
        E.
    code_size : int
        D, of codes and of the hidden layer.

    Source
    ------
    Perez et al. FiLM: Visual reasoning with a general conditioning layer. AAAI 2018.

    Example
    -------
    >>> head = FilmHead(embedding_size=20, code_size=8).eval()
    >>> codes = head.encode(torch.rand(5, 20))
    >>> weights = head.weights(head.summarize(codes[:4].view(2, 2, 8)))
    >>> head.all_pairs(codes, weights).shape  # 2 speakers, 5 queries
    torch.Size([2, 5])
    """

    def inputs(self, codes):
        """The codes as they are (*, D)."""
        return codes

    def forward(self, codes, weights=None):
        """Scores queries (N * Q, D), Q of each speaker: (N * Q,); 0 without enrollment."""
        if weights is None:
            return super().forward(codes)
        return self._scores(codes.unflatten(0, (len(weights["bias"]), -1)), weights).flatten()

    def all_pairs(self, codes, weights):
        """Scores every query (B, D) as every speaker: (N, B)."""
        return self._scores(codes.expand(len(weights["bias"]), -1, -1), weights)

    def merge(self, weights):
        """Writes one speaker's weights into two plain linear layers."""
        hidden = {name: weights[f"hidden_{name}"] for name in ("weight", "bias")}
        output = {name: weights[name] for name in ("weight", "bias")}
        return nn.Sequential(super().merge(hidden), nn.ReLU(), super().merge(output))

    def _make_parameters(self):
        self.film = nn.Linear(self.code_size, 2 * self.code_size)
        self.hidden = nn.Linear(self.code_size, self.code_size)
        self.output = nn.Linear(self.code_size, 1)

    def _raw_weights(self, summary):
        mean = nn.functional.normalize(summary.values, dim=1)
        scale, shift = self.film(self.code_size**0.5 * mean).chunk(2, dim=1)
        present = summary.present.to(mean).unsqueeze(1)
        return {
            "hidden_weight": self.code_size**0.5 * (1 + scale).unsqueeze(2) * self.hidden.weight,
            "hidden_bias": (1 + scale) * self.hidden.bias + shift,
            "weight": present.unsqueeze(2) * self.output.weight,
            "bias": present * self.output.bias,
        }

    def _calibrated(self, weights, summary):
        hidden = {name: weights[name] for name in ("hidden_weight", "hidden_bias")}
        return {**hidden, **super()._calibrated(weights, summary)}

    def _scores(self, codes, weights):
        """Scores of codes (N, Q, D), those of each speaker with its layers: (N, Q)."""
        hidden = codes @ weights["hidden_weight"].mT + weights["hidden_bias"].unsqueeze(1)
        scores = torch.relu(hidden) @ weights["weight"].mT + weights["bias"].unsqueeze(1)
        return scores.squeeze(-1)
