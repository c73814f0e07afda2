"""Heads of embeddings as they are, for encoders of others: no projection is learned."""

from torch import nn

from vofp_plugin.lobes.baselines.normalized_head import NormalizedCosineHead
from vofp_plugin.lobes.detection_head import CosineHead, DetectionHead


class PlainDetectionHead(DetectionHead):
    """The two-covariance model of standardized embeddings: few numbers are learned.

    Arguments
    ---------
    embedding_size : int
        E, which is D too.

    Example
    -------
    >>> import torch
    >>> head = PlainDetectionHead(embedding_size=8).eval()
    >>> head.encode(torch.rand(2, 8)).norm(dim=1).round().tolist()
    [1.0, 1.0]
    """

    def __init__(self, embedding_size):
        super().__init__(embedding_size, code_size=embedding_size)
        self.projection = nn.Identity()


class PlainCosineHead(CosineHead):
    """The cosine of embeddings.

    Arguments
    ---------
    embedding_size : int
        E, which is D too.

    Example
    -------
    >>> import torch
    >>> head = PlainCosineHead(embedding_size=8)
    >>> bool(torch.allclose(head.encode(torch.ones(1, 8)), torch.full((1, 8), 8**-0.5)))
    True
    """

    def __init__(self, embedding_size):
        super().__init__(embedding_size, code_size=embedding_size)

    def encode(self, embeddings):
        """Brings embeddings (B, E) to length 1."""
        return nn.functional.normalize(embeddings, dim=1)


class PlainNormalizedHead(NormalizedCosineHead):
    """The cosine of embeddings with adaptive s-norm.

    Arguments
    ---------
    embedding_size : int
        E, which is D too.
    cohort_size, nearest : int
        As of `NormalizedCosineHead`.

    Example
    -------
    >>> import torch
    >>> head = PlainNormalizedHead(embedding_size=8)
    >>> head.encode(torch.ones(1, 8)).norm().round().item()
    1.0
    """

    def __init__(self, embedding_size, cohort_size=400, nearest=100):
        super().__init__(embedding_size, embedding_size, cohort_size, nearest)

    encode = PlainCosineHead.encode
