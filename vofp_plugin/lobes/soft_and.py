"""Soft and: several scores, calibrated together, to the log-odds that all of them are true."""

import torch
from torch import nn


class SoftAnd(nn.Module):
    """Log-odds that a claim is true, if it is where each of its scores says so.

    The probability is the product of sigmoid(scale * score + offset) over the scores. With one
    score this is logistic calibration. Scales and offsets are found by `fit`.

    Arguments
    ---------
    num_scores : int
        S, such as 2 for the word and the speaker.

    Source
    ------
    Platt. Probabilistic outputs for support vector machines. 1999; of one score.

    Example
    -------
    >>> word, speaker = torch.tensor([9.0, 9.0, -9.0]), torch.tensor([9.0, -9.0, 9.0])
    >>> (SoftAnd(2)(torch.stack([word, speaker], dim=1)) > 0).tolist()
    [True, False, False]
    """

    def __init__(self, num_scores=1):
        super().__init__()
        self.register_buffer("scale", torch.ones(num_scores))
        self.register_buffer("offset", torch.zeros(num_scores))

    def forward(self, scores):
        """Maps scores (*, S) to log-odds (*), in nats."""
        return _log_odds(scores, self.scale, self.offset)

    def fit(self, scores, accepted, weights=None, max_iter=100):
        """Finds scales and offsets by the likelihood of claims; both classes count alike.

        Arguments
        ---------
        scores : torch.Tensor
            (M, S).
        accepted : torch.Tensor
            Whether each claim is true, (M,), bool.
        weights : torch.Tensor
            How much each claim counts, (M,); None counts all of a class alike.
        max_iter : int
            Steps of L-BFGS, at most.

        Returns
        -------
        SoftAnd
            Itself.

        Raises
        ------
        ValueError
            If all claims are true, or all false.
        """
        if accepted.all() or not accepted.any():
            raise ValueError(
                f"Got {len(accepted)} claims, all {'true' if accepted.any() else 'false'}; "
                "expected some of both."
            )
        scores = scores.double()
        mean, std = scores.mean(dim=0), scores.std(dim=0).clamp(min=1e-9)
        weights = _balanced(accepted, weights)
        scale, offset = _fit((scores - mean) / std, accepted, weights, max_iter)
        self.scale.copy_(scale / std)
        self.offset.copy_(offset - scale * mean / std)
        return self


def _log_odds(scores, scale, offset):
    against, *others = (-(scale * scores + offset)).unbind(dim=-1)
    # 1 / p - 1 of p = p1 p2 is a + b + a b of those of p1 and p2. Nothing is taken from 1, by which
    # runtimes that round otherwise would lose the digits.
    for other in others:
        against = torch.stack([against, other, against + other], dim=-1).logsumexp(dim=-1)
    return -against


def _balanced(accepted, weights):
    """Weights (M,) of which each class has one half."""
    weights = torch.ones(len(accepted)).double() if weights is None else weights.double()
    weights = weights / torch.where(accepted, weights[accepted].sum(), weights[~accepted].sum())
    return weights / 2


@torch.enable_grad()
def _fit(scores, accepted, weights, max_iter):
    """Scale and offset (S,) of standardized `scores`, with a slight pull to finite scales."""
    scale = torch.ones(scores.shape[1]).double().requires_grad_()
    offset = torch.zeros_like(scale).requires_grad_()
    optimizer = torch.optim.LBFGS([scale, offset], max_iter=max_iter, line_search_fn="strong_wolfe")
    sign = torch.where(accepted, 1.0, -1.0)

    def loss():
        optimizer.zero_grad()
        log_odds = _log_odds(scores, scale, offset)
        value = (weights * nn.functional.softplus(-sign * log_odds)).sum()
        value = value + 1e-4 * scale.square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return scale.detach(), offset.detach()
