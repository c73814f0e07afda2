"""Detection: is this claim true, that a query is a target's?"""

import math
from typing import NamedTuple

import torch
from torch.nn import functional as F

from vofp_plugin.tasks.keywords import KeywordTask

# Kinds of claims, as the query compares with the target.
TARGET, OTHER_WORD, OTHER_SPEAKER, OTHER_BOTH = range(4)
KINDS = ("target", "other word", "other speaker", "other speaker and word")
LEFT_OUT = -1


# Scores of a claim: that the query is the word, and that it is the speaker's.
SCORES = WORD, SPEAKER = range(2)


class Rule(NamedTuple):
    """Which kinds of claims a detector is to accept, and which to reject; others do not count.

    Arguments
    ---------
    accepted : tuple of int
    rejected : tuple of int
    scores : tuple of int
        Of `SCORES`: by which ones it decides.
    """

    accepted: tuple
    rejected: tuple
    scores: tuple = SCORES


RULES = {
    # The target's command, and nothing else.
    "target_only": Rule((TARGET,), (OTHER_WORD, OTHER_SPEAKER, OTHER_BOTH)),
    # The target's command before all; whether others may give it too is left open.
    "target_biased": Rule((TARGET,), (OTHER_WORD, OTHER_BOTH)),
    # Whatever the target says.
    "verification": Rule((TARGET, OTHER_WORD), (OTHER_SPEAKER, OTHER_BOTH), (SPEAKER,)),
    # The target's voice in a word that others say too.
    "same_word": Rule((TARGET,), (OTHER_SPEAKER,), (SPEAKER,)),
    # The word, whoever says it; of others than the target it is left open.
    "anybody": Rule((TARGET,), (OTHER_WORD, OTHER_BOTH), (WORD,)),
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
    return F.softplus(false - scores[accepted]).mean()


class Heard(NamedTuple):
    """What a `Detector` makes of an episode, whose every utterance is offered as every target.

    Arguments
    ---------
    log_probs : torch.Tensor
        Of words in the queries, (N * Q, C), in nats.
    scores : torch.Tensor
        Of B utterances as N targets, (N, B), in nats.
    claims : Claims
    kl : torch.Tensor
        Divergence of each target's posterior to the prior, (N,), in nats.
    """

    log_probs: torch.Tensor
    scores: torch.Tensor
    claims: Claims
    kl: torch.Tensor


class DetectionTask(KeywordTask):
    """Which word is said, and whether by the target.

    Queries are asked as all targets of the episode, and so are utterances that enroll others.
    The speaker's score is trained on speakers alone; words are the classifier's.

    Arguments
    ---------
    rule : str
        Of `RULES`: what the evaluation accepts and rejects.
    weight : float
        Of the losses over claims, beside that of words.
    beta : float
        Of the KL divergence per claim. It is 0 for heads whose posterior has a closed form.

    Raises
    ------
    ValueError
        If there is no such rule, or a number is below 0.

    Example
    -------
    >>> DetectionTask("target_only").classes([{"command": "up"}, {"command": "down"}])
    ['down', 'up']
    """

    def __init__(self, rule="target_only", weight=0.5, beta=1.0):
        if rule not in RULES:
            raise ValueError(f"Got rule {rule!r}; expected one of {', '.join(RULES)}.")
        if weight < 0 or beta < 0:
            raise ValueError(f"Got weight {weight} and beta {beta}; expected 0 or more.")
        self.rule = rule
        self.weight = weight
        self.beta = beta

    def check(self, model):
        """Refuses a model without a detection head."""
        if not hasattr(model, "head"):
            raise ValueError(
                f"Got a {type(model).__name__}, which detects nobody; expected a Detector."
            )

    def answers(self, output, labels):
        """Log-probabilities of words, without the speaker's score."""
        return output[:, :-1], labels

    def predict(self, model, episode, generator=None):
        """Hears every utterance once, and scores it as every target: `Heard`."""
        enrollment, queries, spoken, _ = episode
        shots = enrollment.lens.shape[1]
        feats = torch.cat([enrollment.feats, queries.feats], dim=1)
        lens = torch.cat([enrollment.lens, queries.lens], dim=1)
        log_probs, codes = (
            x.unflatten(0, lens.shape) for x in model.hear(feats.flatten(0, 1), lens.flatten())
        )
        summary = model.head.summarize(codes[:, :shots], enrollment.lens > 0)
        weights, kl = model.head.draw(summary, generator)
        scores = model.head.all_pairs(codes.flatten(0, 1), weights)
        heard = torch.cat([enrollment.lens > 0, spoken], dim=1)
        claims = _claims(heard, shots, summary.present)
        return Heard(log_probs[:, shots:].flatten(0, 1), scores, claims, kl)

    def objective(self, predictions, episode):
        """Computes all loss terms of `Heard`, {name: scalar}, the sum as "loss"."""
        log_probs, scores, claims, kl = predictions
        accepted, rejected = claims.accepted("verification"), claims.rejected("verification")
        terms = {
            "nll": F.nll_loss(log_probs, episode.queries.labels.flatten()),
            "prototype": prototype_softmax(scores, accepted, rejected),
            "pairwise": pairwise_loss(scores, accepted, rejected),
            "kl": kl.mean(),
        }
        detection = terms["prototype"] + terms["pairwise"]
        detection = detection + self.beta * terms["kl"] / scores.shape[1]
        return {**terms, "loss": terms["nll"] + self.weight * detection}


class VerificationTask(DetectionTask):
    """Whether the target speaks, whatever is said.

    Arguments
    ---------
    weight : float
        Of the losses over claims.
    beta : float
        Of the KL divergence per claim.

    Example
    -------
    >>> VerificationTask().classes([{"command": "speech"}])
    ['speech']
    """

    classifies = False

    def __init__(self, weight=1.0, beta=1.0):
        super().__init__("verification", weight, beta)

    def classes(self, rows):
        """The only class, whatever the rows."""
        return ["speech"]

    def labels(self, rows, encoder, features):
        """The only class of every row, (U,)."""
        return torch.zeros(len(rows), dtype=torch.long)


def _claims(heard, shots, present):
    """Claims of an episode's utterances, of which (N, K + Q) some are `heard`.

    No target is asked its own enrollment, and none is asked who is not `present` (N,).
    """
    num_targets, items = heard.shape
    targets = torch.arange(num_targets, device=heard.device)
    speakers = targets.repeat_interleave(items)
    enrolls = (torch.arange(items, device=heard.device) < shots).repeat(num_targets)
    own_enrollment = enrolls & (targets.unsqueeze(1) == speakers)
    asked = heard.flatten() & ~own_enrollment & present.unsqueeze(1)
    return Claims.of_pairs(targets, speakers, asked=asked)
