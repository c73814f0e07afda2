"""Two networks in place of a trunk: one hears words, the other voices."""

from torch import nn


class Cascade(nn.Module):
    """A spotter and a speaker encoder, which share nothing, behind the calls of `Trunk`.

    Arguments
    ---------
    spotter : torch.nn.Module
        Maps features and relative lengths to log-probabilities of words.
    encoder : Trunk
        Whose embedding is read, and whose words are not.

    Example
    -------
    >>> import torch
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> from vofp_plugin.lobes.models.trunk import Trunk
    >>> cascade = Cascade(DSCNN(num_classes=9), Trunk(DSCNN(num_classes=9)))
    >>> log_probs, embedding = cascade(torch.rand(3, 101, 40), torch.ones(3))
    >>> log_probs.shape, embedding.shape[1] == cascade.embedding_size
    (torch.Size([3, 9]), True)
    """

    def __init__(self, spotter, encoder):
        super().__init__()
        self.spotter = spotter
        self.encoder = encoder
        self.embedding_size = encoder.embedding_size

    def forward(self, feats, lens=None):
        """Log-probabilities of words (B, C) and embeddings (B, E) of features (B, T, F)."""
        return self.spotter(feats, lens), self.encoder(feats, lens)[1]
