"""Task: what a main model puts out, what is asked of it, its loss and its scores."""

from typing import NamedTuple

import torch
from torch.nn import functional as F


class Predictions(NamedTuple):
    """What a model makes of an episode of N speakers, each asked Q queries.

    Arguments
    ---------
    output : torch.Tensor
        The main model's, (N * Q, ...).
    kl : torch.Tensor
        Divergence of each speaker's posterior to the prior, (N,), in nats.
    codes : torch.Tensor
        Of the M speakers who are both enrolled and heard in their queries, (M, D), or None.
    others : torch.Tensor
        Of the queries of the same speakers, (M, D), or None.
    """

    output: torch.Tensor
    kl: torch.Tensor
    codes: torch.Tensor = None
    others: torch.Tensor = None


class Task:
    """What tasks share that ask every speaker's queries with that speaker's weights.

    A subclass gives `classes`, `labels` and `answers`.

    Arguments
    ---------
    elbo : Elbo
        Of the likelihood of queries and the divergence of weights.
    contrast : SpeakerContrast
        Of the codes of enrollment and queries; None for none.
    """

    classifies = True  # whether answers are classes; if not, a run's scores are those of claims

    def __init__(self, elbo, contrast=None):
        self.elbo = elbo
        self.contrast = contrast

    def classes(self, rows):
        """Names of the classes that manifest rows hold, sorted."""
        raise NotImplementedError

    def labels(self, rows, encoder, features):
        """Labels of manifest rows.

        Arguments
        ---------
        rows : list of dict
        encoder : CategoricalEncoder
            Of `classes`.
        features : callable
            Without arguments; gives the clean features of the rows, (U, T, F).

        Returns
        -------
        torch.Tensor
            Class indices, (U,), or (U, T) of frames.
        """
        raise NotImplementedError

    def answers(self, output, labels):
        """Log-probabilities (A, classes) of all answers of an output, and their classes (A,)."""
        raise NotImplementedError

    def check(self, model):
        """Refuses a model that this task cannot train."""
        if self.contrast is not None and not hasattr(model, "encoder"):
            raise ValueError(
                "Got a contrast of speakers for a model without an encoder: leave it out, by null."
            )

    def predict(self, model, episode, generator=None):
        """Runs an episode with weights drawn for each speaker: `Predictions`."""
        enrollment, queries, spoken, _ = episode
        codes = others = None
        if self.contrast is not None:
            enrollment = model.encoder.summarize(enrollment)  # once for both uses
            voices = model.encoder.summarize(queries._replace(lens=queries.lens * spoken))
            heard = enrollment.present & voices.present
            codes, others = model.encoder(enrollment)[heard], model.encoder(voices)[heard]
        weights, kl = model.draw(enrollment, generator)
        feats, lens = queries.feats.flatten(0, 1), queries.lens.flatten()
        return Predictions(model(feats, lens.to(feats.dtype), weights), kl, codes, others)

    def objective(self, predictions, episode):
        """Computes all loss terms of `Predictions`, {name: scalar}, the sum as "loss"."""
        labels = episode.queries.labels
        nll = self.nll(predictions.output, labels.flatten(0, 1)).view(labels.shape[:2])
        terms = self.elbo(nll, predictions.kl)
        terms["contrast"] = torch.zeros_like(terms["loss"])
        if self.contrast is not None:
            terms["contrast"] = self.contrast(predictions.codes, predictions.others)
        return {**terms, "loss": terms["loss"] + terms["contrast"]}

    def nll(self, output, labels):
        """Negative log-likelihood of each item, the mean over its answers: (B,), in nats."""
        log_probs, targets = self.answers(output, labels)
        return F.nll_loss(log_probs, targets, reduction="none").view(len(output), -1).mean(dim=1)
