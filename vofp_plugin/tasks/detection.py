"""Detection: is this claim true, that a query is a target's?"""

import math
from typing import NamedTuple

import torch

# Kinds of claims, as the query compares with the target.
TARGET, OTHER_WORD, OTHER_SPEAKER, OTHER_BOTH = range(4)
KINDS = ("target", "other word", "other speaker", "other speaker and word")
LEFT_OUT = -1


class Rule(NamedTuple):
    """Which kinds of claims a detector is to accept, and which to reject; others do not count.

    Arguments
    ---------
    accepted : tuple of int
    rejected : tuple of int
    """

    accepted: tuple
    rejected: tuple


RULES = {
    # The target's command, and nothing else.
    "target_only": Rule((TARGET,), (OTHER_WORD, OTHER_SPEAKER, OTHER_BOTH)),
    # The target's command before all; whether others may give it too is left open.
    "target_biased": Rule((TARGET,), (OTHER_WORD, OTHER_BOTH)),
    # Whatever the target says.
    "verification": Rule((TARGET, OTHER_WORD), (OTHER_SPEAKER, OTHER_BOTH)),
}


class Claims(NamedTuple):
    """Claims of an episode: each of B queries is offered as each of N targets.

    Arguments
    ---------
    kind : torch.Tensor
        Index in `KINDS`, or `LEFT_OUT`, (N, B).

    Example
    -------
    >>> claims = Claims.of_pairs(torch.tensor([0, 1]), torch.tensor([0, 0, 1]))
    >>> claims.accepted("verification")
    tensor([[ True,  True, False],
            [False, False,  True]])
    """

    kind: torch.Tensor

    @classmethod
    def of_pairs(cls, targets, queries, target_words=None, query_words=None, asked=None):
        """Compares every target with every query.

        Arguments
        ---------
        targets : torch.Tensor
            Speaker of each target, (N,).
        queries : torch.Tensor
            Speaker of each query, (B,).
        target_words : torch.Tensor
            Word of each target, (N,); None where a target is a speaker alone.
        query_words : torch.Tensor
            Word of each query, (B,).
        asked : torch.Tensor
            Which pairs count, (N, B), bool; None for all. An utterance that enrolls a target must
            not be asked as that target.

        Returns
        -------
        Claims
        """
        kind = OTHER_SPEAKER * (targets.unsqueeze(1) != queries).long()
        if target_words is not None:
            kind = kind + OTHER_WORD * (target_words.unsqueeze(1) != query_words).long()
        if asked is not None:
            kind = kind.masked_fill(~asked, LEFT_OUT)
        return cls(kind)

    def accepted(self, rule):
        """Which claims a detector by this rule of `RULES` is to accept, (N, B), bool."""
        return self._is_one_of(RULES[rule].accepted)

    def rejected(self, rule):
        """Which claims a detector by this rule of `RULES` is to reject, (N, B), bool."""
        return self._is_one_of(RULES[rule].rejected)

    def _is_one_of(self, kinds):
        return torch.isin(self.kind, torch.tensor(kinds, device=self.kind.device))


def prototype_softmax(scores, accepted, rejected):
    """Cross-entropy of finding, among all targets of an episode, the one that a query is of.

    Arguments
    ---------
    scores : torch.Tensor
        Of every query as every target, (N, B), in nats.
    accepted : torch.Tensor
        Which claims are true, (N, B), bool.
    rejected : torch.Tensor
        Which ones are false, (N, B), bool; the others do not count.

    Returns
    -------
    torch.Tensor
        Mean over the true claims, in nats; 0 where there is none.

    Source
    ------
    Snell, Swersky, Zemel. Prototypical Networks for Few-shot Learning. NeurIPS 2017.

    Example
    -------
    >>> accepted = torch.eye(2).bool()
    >>> round(prototype_softmax(torch.zeros(2, 2), accepted, ~accepted).item(), 4)
    0.6931
    """
    if not accepted.any():
        return scores.sum() * 0
    asked = scores.masked_fill(~(accepted | rejected), -math.inf)
    every = asked.logsumexp(dim=0).expand_as(scores)
    return (every - scores)[accepted].mean()


def pairwise_loss(scores, accepted, rejected):
    """Every true claim against all false claims of the episode, by one threshold for all targets.

    Arguments
    ---------
    scores : torch.Tensor
        Of every query as every target, (N, B), in nats.
    accepted : torch.Tensor
        Which claims are true, (N, B), bool.
    rejected : torch.Tensor
        Which ones are false, (N, B), bool.

    Returns
    -------
    torch.Tensor
        Mean over the true claims, in nats; 0 where there is no pair.

    Example
    -------
    >>> accepted = torch.eye(2).bool()
    >>> good, poor = 9.0 * torch.eye(2), torch.zeros(2, 2)
    >>> bool(pairwise_loss(good, accepted, ~accepted) < pairwise_loss(poor, accepted, ~accepted))
    True
    """
    if not (accepted.any() and rejected.any()):
        return scores.sum() * 0
    # Per target, so that the loss does not grow with the size of the episode.
    false = scores[rejected].logsumexp(dim=0) - math.log(len(scores))
    return torch.nn.functional.softplus(false - scores[accepted]).mean()
