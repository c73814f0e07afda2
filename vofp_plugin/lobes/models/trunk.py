"""One network that hears the word and the voice: a DS-CNN whose activations tell the speaker."""

import torch
from torch import nn

from vofp_plugin.lobes.axes import Moments, pooled


class Trunk(nn.Module):
    """DS-CNN that gives, besides log-probabilities of words, what its activations tell of a voice.

    Means and standard deviations over time of the features, of the stem and of every block, once
    over all frames alike and once weighted by the frames' attention.

    Arguments
    ---------
    ds_cnn : DSCNN

    Example
    -------
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> trunk = Trunk(DSCNN(num_classes=9))
    >>> log_probs, embedding = trunk(torch.rand(3, 101, 40), torch.ones(3))
    >>> log_probs.shape, embedding.shape[1] == trunk.embedding_size == 1120
    (torch.Size([3, 9]), True)
    """

    def __init__(self, ds_cnn):
        super().__init__()
        self.ds_cnn = ds_cnn
        channels = ds_cnn.classifier.in_features
        self.attention = nn.Conv2d(channels, 1, 1)
        layers = 1 + len(ds_cnn.blocks)
        self.embedding_size = 4 * (ds_cnn.input_norm.num_features + layers * channels)

    def forward(self, feats, lens=None):
        """Hears words and voices.

        Arguments
        ---------
        feats : torch.Tensor
            Features, (B, T, F), in dB.
        lens : torch.Tensor
            Relative lengths, (B,); not read: clips are heard whole, padding included.

        Returns
        -------
        torch.Tensor
            Log-probabilities of words, (B, C), in nats.
        torch.Tensor
            Embedding, (B, embedding_size).
        """
        activations = self._activations(feats)
        moments = [Moments.of(x) for x in activations]
        attention = self.attention(activations[-1]).flatten(1).softmax(dim=1)
        attended = [_attend(x.squeeze(2), attention) for x in activations]
        logits = self.ds_cnn.classifier(moments[-1].mean)
        return logits.log_softmax(dim=1), pooled([*moments, *attended])

    def _activations(self, feats):
        """Normalized features (B, F, 1, T), and what the stem and every block put out."""
        x = self.ds_cnn.input_norm(feats.transpose(1, 2).unsqueeze(2))
        activations = [x, torch.relu(self.ds_cnn.stem(x))]
        for block in self.ds_cnn.blocks:
            activations.append(block(activations[-1]))
        return activations


def _attend(x, attention):
    """Mean and standard deviation of `x` (B, C, T), weighted by `attention` (B, T'): (B, 2 C).

    Where T is about twice T', as of the features before a stem of stride 2, every other frame
    is read.
    """
    stride = round(x.shape[2] / attention.shape[1])
    x, weight = x[:, :, ::stride], attention.unsqueeze(1)
    weighted = x * weight  # and sums: five times as fast as products of matrices
    mean = weighted.sum(dim=2)
    variance = (weighted * x).sum(dim=2) - mean.square()
    return torch.cat([mean, (variance.clamp(min=0) + 1e-5).sqrt()], dim=1)
