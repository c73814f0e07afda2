"""One causal network that hears speech and voice in every frame, for a detection head."""

import torch
from torch import nn


class FrameTrunk(nn.Module):
    """Causal CNN that gives, besides speech or none, what its blocks tell of a voice.

    Arguments
    ---------
    frame_cnn : FrameCNN
        Of two classes, no speech and speech.

    Example
    -------
    >>> from vofp_plugin.lobes.models.frame_cnn import FrameCNN
    >>> trunk = FrameTrunk(FrameCNN(num_classes=2))
    >>> log_probs, embeddings = trunk(torch.rand(3, 101, 40))
    >>> log_probs.shape, embeddings.shape[2] == trunk.embedding_size == 96
    (torch.Size([3, 101, 2]), True)
    """

    def __init__(self, frame_cnn):
        super().__init__()
        self.frame_cnn = frame_cnn
        self.embedding_size = len(frame_cnn.blocks) * frame_cnn.classifier.in_features

    def forward(self, feats, lens=None):
        """Hears features (B, T, F), whatever `lens`: no frame sees a later one.

        Returns
        -------
        torch.Tensor
            Log-probabilities of no speech and speech, (B, T, 2), in nats.
        torch.Tensor
            Embeddings, (B, T, embedding_size).
        """
        frames = [x.squeeze(2).transpose(1, 2) for x in self.frame_cnn.activations(feats)]
        log_probs = self.frame_cnn.classifier(frames[-1]).log_softmax(dim=2)
        return log_probs, torch.cat(frames, dim=2)
