"""Heads of personal keywords: takes of a word to linear layers that detect it, and who says it."""

import math

import torch
from torch import nn

from vofp_plugin.lobes.detection_head import CosineHead
from vofp_plugin.lobes.enrollment import Summary

NOTHING = -20.0  # nats: the score of every word where none was enrolled


class WordHead(CosineHead):
    """The mean of the takes as weights, scaled by how much alike the takes are.

    The cosine of two takes of the same word has a normal prior. Every pair of enrolled takes is an
    observation of it with the variance of the prior times `log_pairs.exp()`, so its posterior mean
    `rho` is a weighted mean. A query that is as like as the takes are to each other has the same
    score for all words and K, whatever `rho`: one threshold serves all. Without enrollment nothing
    is detected.

    Arguments
    ---------
    embedding_size : int
        E.
    code_size : int
        D.

    Example
    -------
    >>> head = WordHead(embedding_size=20, code_size=8).eval()
    >>> codes = head.encode(torch.rand(3, 20))
    >>> summary = head.summarize(codes[None, :2])
    >>> head(codes[2:], head.weights(summary)).shape
    torch.Size([1])
    >>> nothing = head.summarize(codes[None, :0])
    >>> head(codes[2:], head.weights(nothing)).item()
    -20.0
    """

    def likeness(self, summary):
        """Posterior mean of the cosine of two takes of a word, (N, 1).

        Arguments
        ---------
        summary : Summary
            Of unit codes: the sum of K tells the mean cosine of their pairs.
        """
        pairs = summary.precisions * (summary.precisions - 1) / 2
        total = (summary.values.square().sum(1, keepdim=True) - summary.precisions) / 2
        prior = self.log_pairs.exp()
        rho = (self.prior_likeness.clamp(0.1, 1.0) * prior + total) / (prior + pairs)
        return rho.clamp(min=0.1)  # of takes that are not alike, or opposite ones would be detected

    def _make_parameters(self):
        self.log_scale = nn.Parameter(torch.tensor(math.log(10.0)))
        self.prior_likeness = nn.Parameter(torch.tensor(0.7))
        self.log_pairs = nn.Parameter(torch.tensor(0.0))  # that the prior counts for
        self.shift = nn.Parameter(torch.tensor(-6.0))

    def _raw_weights(self, summary):
        mean = summary.values / summary.precisions.clamp(min=1)
        weight = self.log_scale.exp() * mean / self.likeness(summary)
        present = summary.present.unsqueeze(1)
        bias = torch.where(present, self.shift.expand_as(summary.precisions), NOTHING)
        return {"weight": weight.unsqueeze(1), "bias": bias}

    def _calibrated(self, weights, summary):
        calibrated = super()._calibrated(weights, summary)
        nothing = ~summary.present.unsqueeze(1)
        return {**calibrated, "bias": calibrated["bias"].masked_fill(nothing, NOTHING)}


class KeywordHead(nn.Module):
    """A head of words and one of voices, behind the calls of one head.

    Codes, summaries and weights of both lie side by side: those of the word are first.

    Arguments
    ---------
    word : DetectionHead
    voice : DetectionHead

    Example
    -------
    >>> head = KeywordHead(WordHead(20, 8), CosineHead(30, 4)).eval()
    >>> codes = head.encode(torch.rand(5, 20), torch.rand(5, 30))
    >>> weights = head.weights(head.summarize(codes[:4].view(2, 2, 12)))
    >>> head.all_pairs(codes, weights).shape  # 2 targets, 5 queries, word and voice
    torch.Size([2, 5, 2])
    """

    def __init__(self, word, voice):
        super().__init__()
        self.word, self.voice = word, voice
        self.sizes = [word.code_size, voice.code_size]
        self.code_size = sum(self.sizes)

    def encode(self, word_embeddings, voice_embeddings):
        """Maps embeddings (B, E) of word and voice to codes (B, D)."""
        codes = self.word.encode(word_embeddings), self.voice.encode(voice_embeddings)
        return torch.cat(codes, dim=1)

    def summarize(self, codes, present=None):
        """Sums the codes (N, K, D) of each target's takes; see `DetectionHead.summarize`."""
        return self.word.summarize(codes, present)

    def weights(self, summary):
        """Makes the layers of every target: {"word.weight", "word.bias", "voice.weight", ...}."""
        return self._joined(
            [
                head.weights(part)
                for head, part in zip(self.heads, self._split(summary), strict=True)
            ]
        )

    def draw(self, summary, generator=None):
        """Gives weights for training and their KL divergence (N,), in nats."""
        drawn = [
            head.draw(part, generator)
            for head, part in zip(self.heads, self._split(summary), strict=True)
        ]
        return self._joined([weights for weights, _ in drawn]), sum(kl for _, kl in drawn)

    def forward(self, codes, weights=None):
        """Scores queries (N * Q, D), target after target: of word and voice, (N * Q, 2)."""
        return self._both("forward", codes, weights, -1)

    def all_pairs(self, codes, weights):
        """Scores every query (B, D) as every target: (N, B, 2)."""
        return self._both("all_pairs", codes, weights, 2)

    def merge(self, weights):
        """Writes one target's weights into plain linear layers."""
        return nn.ModuleList(
            head.merge(part) for head, part in zip(self.heads, _parts(weights), strict=True)
        )

    @property
    def heads(self):
        """Both, in the order of their scores."""
        return self.word, self.voice

    def _both(self, call, codes, weights, dim):
        parts = zip(self.heads, codes.split(self.sizes, dim=-1), _parts(weights), strict=True)
        return torch.stack([getattr(head, call)(*part) for head, *part in parts], dim=dim)

    def _split(self, summary):
        values = summary.values.split(self.sizes, dim=1)
        return [Summary(part, summary.precisions) for part in values]

    @staticmethod
    def _joined(parts):
        names = ("word", "voice")
        return {
            f"{name}.{key}": value
            for name, part in zip(names, parts, strict=True)
            for key, value in part.items()
        }


def _parts(weights):
    """Weights of the word and of the voice; two None where there are none."""
    if weights is None:
        return None, None
    return [
        {key.split(".")[1]: value for key, value in weights.items() if key.startswith(f"{name}.")}
        for name in ("word", "voice")
    ]
