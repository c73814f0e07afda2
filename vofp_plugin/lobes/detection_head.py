"""Detection heads: the utterances of a speaker to a linear layer that detects the speaker.

    embedding -> code -> summary -> weights of a weight-injected linear layer -> score of a query

A score is a log-odds ratio, in nats: above 0 the query is the speaker's, where both answers are as
likely beforehand. Without enrollment it is 0, which rejects nobody. All heads have the same calls;
they differ in how a summary becomes weights.
"""

import math
from functools import partial

import torch
from torch import nn

from vofp_plugin.lobes.enrollment import Summary
from vofp_plugin.lobes.hyper_personalizer import HyperPersonalizer
from vofp_plugin.nnet.injection import inject_, injected
from vofp_plugin.nnet.modes import Residual
from vofp_plugin.nnet.posterior import GaussianHead
from vofp_plugin.nnet.two_covariance import speaker_weights, with_squares


class DetectionHead(nn.Module):
    """The weights of a two-covariance model: exact, with the uncertainty of few utterances.

    Arguments
    ---------
    embedding_size : int
        E.
    code_size : int
        D.

    Example
    -------
    >>> head = DetectionHead(embedding_size=20, code_size=8).eval()
    >>> codes = head.encode(torch.rand(6, 20))
    >>> summary = head.summarize(codes[:4].view(2, 2, 8))  # 2 speakers, K = 2
    >>> weights = head.weights(summary)
    >>> head(codes[4:], weights).shape  # one query of each
    torch.Size([2])
    >>> head.all_pairs(codes, weights).shape  # 2 speakers, 6 queries
    torch.Size([2, 6])
    """

    def __init__(self, embedding_size, code_size=64):
        super().__init__()
        self.code_size = code_size
        self.standardize = nn.BatchNorm1d(embedding_size, affine=False)
        self.projection = nn.Linear(embedding_size, code_size)
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("offset", torch.tensor(0.0))
        self.detector = nn.Linear(self.inputs(torch.zeros(1, code_size)).shape[1], 1)
        nn.init.zeros_(self.detector.weight)
        nn.init.zeros_(self.detector.bias)
        inject_(self.detector.requires_grad_(False), ["*"])
        self._make_parameters()

    def encode(self, embeddings):
        """Maps embeddings (B, E) of utterances to codes (B, D) of the same length."""
        return nn.functional.normalize(self.projection(self.standardize(embeddings)), dim=1)

    def summarize(self, codes, present=None):
        """Sums the codes of each speaker's utterances.

        Arguments
        ---------
        codes : torch.Tensor
            Of K utterances of N speakers, (N, K, D).
        present : torch.Tensor
            Which utterances are there, (N, K), bool; None for all.

        Returns
        -------
        Summary
            Summaries add up, and that of more utterances is exactly the sum.
        """
        if present is None:
            present = codes.new_ones(codes.shape[:2])
        present = present.to(codes.dtype)
        return Summary(torch.einsum("nk,nkd->nd", present, codes), present.sum(1, keepdim=True))

    def weights(self, summary):
        """Makes the calibrated layer of every speaker: {"weight": (N, 1, I), "bias": (N, 1)}."""
        return self._calibrated(self._raw_weights(summary), summary)

    def draw(self, summary, generator=None):
        """Gives weights for training and their KL divergence (N,), in nats: 0 in closed form."""
        return self.weights(summary), summary.values.new_zeros(len(summary.values))

    def forward(self, codes, weights=None):
        """Scores queries.

        Arguments
        ---------
        codes : torch.Tensor
            Of Q queries of N speakers, speaker after speaker, (N * Q, D).
        weights : dict
            From `weights`; None is no enrollment.

        Returns
        -------
        torch.Tensor
            Log-odds ratios, (N * Q,), in nats.
        """
        if weights is None:
            return self.detector(self.inputs(codes)).squeeze(-1)
        with injected(self.detector, weights):
            return self.detector(self.inputs(codes)).squeeze(-1)

    def all_pairs(self, codes, weights):
        """Scores every query (B, D) as every speaker: (N, B)."""
        num_speakers = len(weights["bias"])
        with injected(self.detector, weights):
            return self.detector(self.inputs(codes).expand(num_speakers, -1, -1)).squeeze(-1)

    @torch.no_grad()
    def calibrate(self, scale, offset):
        """Sets what turns scores into log-odds ratios: scale * score + offset from now on.

        Arguments
        ---------
        scale : float
            Above 0. Both are found on scores of the head as it is (`fit_calibration`).
        offset : float
        """
        if not scale > 0:
            raise ValueError(
                f"Got scale {scale:g}; expected one above 0. Do targets score lower than others?"
            )
        self.offset.mul_(scale).add_(offset)
        self.scale.mul_(scale)

    def merge(self, weights):
        """Writes one speaker's weights into a plain linear layer that reads `inputs` of codes."""
        if len(weights["bias"]) != 1:
            raise ValueError(
                f"Got weights of {len(weights['bias'])} speakers to merge; expected one."
            )
        layer = nn.Linear(*reversed(weights["weight"].shape[1:]))
        layer.load_state_dict({name: weight[0].detach() for name, weight in weights.items()})
        return layer

    def inputs(self, codes):
        """What the injected layer reads of codes (*, D): (*, I)."""
        return with_squares(codes)

    def _make_parameters(self):
        # A speaker differs from others as much as an utterance from its speaker: with a precision
        # far from 1, which hardly moves in training, the posterior hardly narrows with K.
        self.log_precision = nn.Parameter(torch.zeros(self.code_size))
        # Codes have length 1, so a dimension varies by 1 / D: the scale makes that 1 + 1 / p.
        self.log_scale = nn.Parameter(torch.tensor(math.log(2 * self.code_size) / 2))
        # Dimensions of untrained codes tell nearly the same, and counting each of them as evidence
        # would be overconfident: so scores start at 6 (K = 1) to 14 (K = 5) times the cosine.
        self.scale = nn.Parameter(torch.tensor(0.15))

    def _raw_weights(self, summary):
        """Weights of codes, of which the two-covariance model sees `scale` times the length."""
        scale = self.log_scale.exp()
        weights = speaker_weights(
            scale * summary.values, summary.precisions, self.log_precision.exp()
        )
        linear, quadratic = weights["weight"].chunk(2, dim=2)
        return {**weights, "weight": torch.cat([scale * linear, scale**2 * quadratic], dim=2)}

    def _calibrated(self, weights, summary):
        offset = self.offset * summary.present.unsqueeze(1)
        return {
            "weight": self.scale * weights["weight"],
            "bias": self.scale * weights["bias"] + offset,
        }


class CosineHead(DetectionHead):
    """The baseline: the cosine of a query and the mean of the enrollment, times a scale.

    Example
    -------
    >>> head = CosineHead(embedding_size=20, code_size=8).eval()
    >>> codes = head.encode(torch.rand(3, 20))
    >>> head(codes[2:], head.weights(head.summarize(codes[None, :2]))).shape
    torch.Size([1])
    """

    def inputs(self, codes):
        """The codes as they are (*, D)."""
        return codes

    def _make_parameters(self):
        self.log_scale = nn.Parameter(torch.tensor(math.log(8.0)))

    def _raw_weights(self, summary):
        mean = nn.functional.normalize(summary.values, dim=1)
        weight = self.log_scale.exp() * mean.unsqueeze(1)
        return {"weight": weight, "bias": weight.new_zeros(len(mean), 1)}


class AmortizedHead(DetectionHead):
    """Weights by a hyper-personalizer: a posterior over the layer, learned with its KL.

    It reads the mean of the codes, shrunk by the number of utterances, its squares and that number,
    of which the exact weights are made too.

    Arguments
    ---------
    embedding_size : int
        E.
    code_size : int
        D.
    prior_std : float
        Of the injected numbers, which change a score by about as much.

    Example
    -------
    >>> head = AmortizedHead(embedding_size=20, code_size=8).eval()
    >>> codes = head.encode(torch.rand(3, 20))
    >>> weights, kl = head.draw(head.summarize(codes[None, :2]))
    >>> weights["weight"].shape, kl.shape
    (torch.Size([1, 1, 16]), torch.Size([1]))
    """

    def __init__(self, embedding_size, code_size=64, prior_std=3.0):
        self.prior_std = prior_std
        super().__init__(embedding_size, code_size)

    def inputs(self, codes):
        """The codes in the unit in which their values are about 1, with their squares."""
        return with_squares(self.code_size**0.5 * codes)

    def draw(self, summary, generator=None):
        """Draws weights for training, and gives their KL divergence (N,), in nats."""
        posterior = self._posterior(summary)
        weights = self._weights_of(posterior.sample(generator), summary)
        kl = posterior.kl(self.hyper_personalizer.prior()) * summary.present
        return self._calibrated(weights, summary), kl

    def _make_parameters(self):
        self.hyper_personalizer = HyperPersonalizer(
            self.detector,
            {"*": "full"},
            code_size=2 * self.code_size + 1,
            mode=Residual(self.prior_std),
            posterior=partial(GaussianHead, std=0.1 * self.prior_std),
        )

    def _posterior(self, summary):
        count = summary.precisions
        code = torch.cat([self.inputs(summary.values / (count + 1)), count.log1p()], dim=1)
        return self.hyper_personalizer(code, count)

    def _raw_weights(self, summary):
        return self._weights_of(self._posterior(summary).mean, summary)

    def _weights_of(self, numbers, summary):
        numbers = numbers * summary.present.unsqueeze(1)
        return self.hyper_personalizer.weights(numbers, self.detector)
