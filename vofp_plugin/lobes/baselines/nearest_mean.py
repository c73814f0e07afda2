"""Nearest class mean: enrollment moves the mean embeddings of the classes that it holds."""

from itertools import product
from typing import NamedTuple

import torch

from vofp_plugin.lobes.baselines.adapted import NOTHING, AdaptedModel


class ClassMeans(NamedTuple):
    """Mean embedding of every class for N speakers, and the metric of distances to it.

    Arguments
    ---------
    means : torch.Tensor
        (N, classes, D).
    metric : torch.Tensor
        Linear map, (D, D), of which the squared distances are negative logits, in nats.
    enrolled : torch.Tensor
        Whether a speaker has enrolled anything, (N,); the others are answered by the classifier.

    Example
    -------
    >>> ClassMeans(torch.zeros(2, 10, 48), torch.eye(48), torch.ones(2).bool()).means.shape
    torch.Size([2, 10, 48])
    """

    means: torch.Tensor
    metric: torch.Tensor
    enrolled: torch.Tensor


class NearestMeanModel(AdaptedModel):
    """A shared model that answers by the nearest class mean of its embeddings.

    A class mean is that of the training set, pulled toward the mean of the speaker's enrollment of
    that class: (prior_count * training mean + sum of the enrollment) / (prior_count + number of
    it). Answers are the softmax of the negative squared distances times a temperature. Distances
    are relative to the training set's covariance within classes, more or less of it.

    Arguments
    ---------
    main_model : torch.nn.Module
        With `embed`, features (B, T, F) to embeddings (B, D), and the linear layer `classifier`.
    prior_counts : list of float
        How many utterances the training mean counts for.
    temperatures : list of float
        In nats for each unit of the mean squared distance over D.
    shrinkages : list of float
        Share of the covariance that is replaced by its mean variance in every direction: 1 gives
        plain distances, 0 Mahalanobis distances.
    offsets : list of bool
        Whether classes that the speaker did not enroll move by the mean move of those enrolled.

    Source
    ------
    Snell, Swersky, Zemel. Prototypical Networks for Few-shot Learning. NeurIPS 2017. The prior
    count and the offset are ours.

    Example
    -------
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> from vofp_plugin.lobes.enrollment import Enrollment
    >>> model = NearestMeanModel(DSCNN(num_classes=10), [1.0], [1.0], [1.0], [False]).eval()
    >>> model.learn([(torch.rand(20, 101, 40), torch.arange(10).repeat(2))])
    >>> model.setting = model.settings[-1]
    >>> model.setting
    {'prior_count': 1.0, 'temperature': 1.0, 'shrinkage': 1.0, 'offset': False}
    >>> labels = torch.tensor([[0, 1], [0, 1], [0, 1]])
    >>> enrollment = Enrollment(torch.rand(3, 2, 101, 40), torch.ones(3, 2), labels)
    >>> model(torch.rand(6, 101, 40), weights=model.personalize(enrollment)).shape
    torch.Size([6, 10])
    """

    def __init__(self, main_model, prior_counts, temperatures, shrinkages, offsets=(False, True)):
        names = ("prior_count", "temperature", "shrinkage", "offset")
        choices = product(prior_counts, temperatures, shrinkages, offsets)
        super().__init__(main_model, [dict(zip(names, chosen, strict=True)) for chosen in choices])
        num_classes, size = main_model.classifier.weight.shape
        self.register_buffer("training_means", torch.zeros(num_classes, size))
        self.register_buffer("covariance", torch.eye(size))

    @torch.no_grad()
    def learn(self, batches):
        """Takes the class means of the training set, and its covariance within classes."""
        embeddings, labels = zip(*((self.main_model.embed(x), y) for x, y in batches), strict=True)
        embeddings, labels = torch.cat(embeddings), torch.cat(labels)
        sums, counts = self._sums(embeddings.unsqueeze(0), labels.unsqueeze(0))
        self.training_means.copy_(sums[0] / counts[0].clamp(min=1))
        deviations = embeddings - self.training_means[labels]
        self.covariance.copy_(deviations.T @ deviations / len(deviations))

    def forward(self, feats, lens=None, weights=None):
        """Maps features (N * Q, T, F) to log-probabilities (N * Q, classes).

        Arguments
        ---------
        feats : torch.Tensor
        lens : torch.Tensor
            Relative lengths, (N * Q,), which `embed` does not read.
        weights : ClassMeans
            None answers by the classifier.

        Returns
        -------
        torch.Tensor
        """
        if weights is None:
            return super().forward(feats, lens)
        means, metric, enrolled = weights
        embeddings = self.main_model.embed(feats).unflatten(0, (len(means), -1))
        distances = torch.cdist(embeddings @ metric, means @ metric).square()
        logits = self.main_model.classifier(embeddings)
        logits = torch.where(enrolled.view(-1, 1, 1), -distances, logits)
        return torch.log_softmax(logits, dim=2).flatten(0, 1)

    def adaptations(self, enrollment, settings):
        """Pulls the class means toward the enrollment, which is embedded once for all settings."""
        embeddings = self.main_model.embed(enrollment.feats.flatten(0, 1))
        embeddings = embeddings.unflatten(0, enrollment.lens.shape)
        sums, counts = self._sums(embeddings, enrollment.labels, enrollment.lens > 0)
        for setting in settings:
            yield None if setting == NOTHING else self._class_means(sums, counts, **setting)

    def _class_means(self, sums, counts, prior_count, temperature, shrinkage, offset):
        moves = (sums - counts * self.training_means) / (prior_count + counts)
        if offset:
            enrolled = counts > 0
            mean_move = moves.sum(1, keepdim=True) / enrolled.sum(1, keepdim=True).clamp(min=1)
            moves = torch.where(enrolled, moves, mean_move)
        metric = self._metric(shrinkage) * (temperature / len(self.covariance)) ** 0.5
        return ClassMeans(self.training_means + moves, metric, counts.sum((1, 2)) > 0)

    def _metric(self, shrinkage):
        """The map (D, D) after which the covariance, shrunk toward a sphere, is the identity."""
        identity = torch.eye(len(self.covariance)).to(self.covariance)
        sphere = self.covariance.diagonal().mean() * identity
        shrunk = torch.lerp(self.covariance, sphere, shrinkage)
        try:
            return torch.linalg.cholesky(torch.linalg.inv(shrunk))
        except torch.linalg.LinAlgError as error:
            raise ValueError(
                f"Got shrinkage {shrinkage} for a covariance of {len(self.covariance)} dimensions "
                "that cannot be inverted; give more training utterances or a larger shrinkage."
            ) from error

    def _sums(self, embeddings, labels, present=None):
        """Sums (N, classes, D) and counts (N, classes, 1) by class of embeddings (N, K, D)."""
        member = torch.nn.functional.one_hot(labels, len(self.training_means)).to(embeddings.dtype)
        if present is not None:
            member = member * present.unsqueeze(2)
        member = member.transpose(1, 2)
        return member @ embeddings, member.sum(2, keepdim=True)
