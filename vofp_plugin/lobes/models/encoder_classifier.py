"""SpeechBrain's embedding model and classifier as one main model."""

import torch
from torch import nn

from vofp_plugin.lobes.enrollment import relative_lengths
from vofp_plugin.lobes.normalization import keep_statistics_


class EncoderClassifier(nn.Module):
    """Joins an embedding model and a classifier of SpeechBrain, such as Xvector's or ECAPA_TDNN's.

    Arguments
    ---------
    embedding_model : torch.nn.Module
        Called as `embedding_model(feats (B, T, F), lens (B,))`, gives (B, 1, E).
    classifier : torch.nn.Module
        Maps (B, 1, E) to (B, 1, classes): log-probabilities, logits or cosines.
    normalize : torch.nn.Module
        SpeechBrain's `InputNormalization`, called as `normalize(feats, lens)`; None for none. In
        the main model and not in the front end, so that noise is added to plain log-mels.
    scale : float
        Factor of the classifier's output, as of a loss on cosines.

    Example
    -------
    >>> from speechbrain.lobes.models.Xvector import Classifier, Xvector
    >>> xvector = Xvector(in_channels=24, tdnn_channels=[8] * 5, lin_neurons=6)
    >>> main_model = EncoderClassifier(xvector, Classifier((None, None, 6), out_neurons=12))
    >>> main_model.eval()(torch.rand(3, 101, 24), torch.tensor([1.0, 0.5, 0.8])).shape
    torch.Size([3, 12])
    """

    def __init__(self, embedding_model, classifier, normalize=None, scale=1.0):
        super().__init__()
        self.normalize = None if normalize is None else keep_statistics_(normalize)
        self.embedding_model = embedding_model
        self.classifier = classifier
        self.scale = scale

    def forward(self, x, lens=None):
        """Maps features `x` (B, T, F) with relative lengths (B,) to log-probabilities (B, C)."""
        lens = relative_lengths(x, lens)
        if self.normalize is not None:
            x = self.normalize(x, lens)
        output = self.classifier(self.embedding_model(x, lens)).squeeze(1)
        # Of log-probabilities these are the very same again.
        return torch.log_softmax(self.scale * output, dim=1)
