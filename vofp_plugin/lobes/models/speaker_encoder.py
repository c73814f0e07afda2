"""An embedding model as the main model of a detector that asks for speakers, not for words."""

from torch import nn

from vofp_plugin.lobes.enrollment import relative_lengths


class SpeakerEncoder(nn.Module):
    """Gives the embeddings of a model of SpeechBrain's, such as ECAPA_TDNN or Xvector.

    Arguments
    ---------
    embedding_size : int
        E.
    embedding_model : torch.nn.Module
        Called as `embedding_model(feats (B, T, F), lens (B,))`, gives (B, 1, E); None where the
        front end computes embeddings, (B, 1, E).
    frozen : bool
        Whether it stays as it is, so that the head alone is learned.

    Example
    -------
    >>> import torch
    >>> from speechbrain.lobes.models.Xvector import Xvector
    >>> xvector = Xvector(in_channels=24, tdnn_channels=[8] * 5, lin_neurons=6)
    >>> encoder = SpeakerEncoder(embedding_size=6, embedding_model=xvector, frozen=True)
    >>> log_probs, embeddings = encoder(torch.rand(3, 101, 24), torch.ones(3))
    >>> log_probs.shape, embeddings.shape  # the only word, and what is told of the voice
    (torch.Size([3, 1]), torch.Size([3, 6]))
    """

    def __init__(self, embedding_size, embedding_model=None, frozen=False):
        super().__init__()
        self.embedding_size = embedding_size
        self.embedding_model = embedding_model
        self.frozen = frozen
        if frozen and embedding_model is not None:
            embedding_model.requires_grad_(False).eval()

    def train(self, mode=True):
        """Chooses training or evaluation, where a frozen model stays."""
        super().train(mode)
        if self.frozen and self.embedding_model is not None:
            self.embedding_model.eval()
        return self

    def forward(self, feats, lens=None):
        """Log-probabilities (B, 1) of the only word, which are 0, and embeddings (B, E)."""
        embeddings = feats
        if self.embedding_model is not None:
            embeddings = self.embedding_model(feats, relative_lengths(feats, lens))
        return feats.new_zeros(len(feats), 1), embeddings.flatten(1)
