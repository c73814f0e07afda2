"""One network that hears any word and any voice: a DS-CNN without classes."""

import torch
from torch import nn

from vofp_plugin.lobes.models.energy_clock import clock_weights
from vofp_plugin.lobes.models.trunk import Trunk


class KeywordTrunk(Trunk):
    """DS-CNN whose activations tell which word is said, in order, and by what voice.

    The word is told by means of the features and of the last block over segments of the energy
    clock; the voice by means and standard deviations of all layers, as in `Trunk`.

    Arguments
    ---------
    ds_cnn : DSCNN
        Its classifier is taken away.
    num_segments : int
        S.

    Example
    -------
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> trunk = KeywordTrunk(DSCNN(num_classes=1))
    >>> word, voice = trunk(torch.rand(3, 101, 40), torch.ones(3))
    >>> word.shape[1] == trunk.word_size == 528, voice.shape[1] == trunk.embedding_size == 1120
    (True, True)
    """

    def __init__(self, ds_cnn, num_segments=6):
        super().__init__(ds_cnn)
        self.num_segments = num_segments
        self.word_size = num_segments * (
            ds_cnn.input_norm.num_features + ds_cnn.classifier.in_features
        )
        ds_cnn.classifier = nn.Identity()

    def forward(self, feats, lens=None):
        """Hears words and voices.

        Arguments
        ---------
        feats : torch.Tensor
            Features, (B, T, F), in dB.
        lens : torch.Tensor
            Relative lengths, (B,); not read: what is silent has no share of the energy.

        Returns
        -------
        torch.Tensor
            Embedding of the word, (B, word_size).
        torch.Tensor
            Embedding of the voice, (B, embedding_size).
        """
        features, *hidden = (x.squeeze(2) for x in self._activations(feats))
        num_frames = hidden[-1].shape[2]
        stride = round(feats.shape[1] / num_frames)
        layers = torch.cat([features[:, :, ::stride], *hidden], dim=1)
        attention = self.attention(hidden[-1].unsqueeze(2)).flatten(1).softmax(dim=1)
        alike = torch.full_like(attention, 1 / num_frames)
        over_time = torch.stack([alike, attention], dim=1)
        clock = clock_weights(feats[:, ::stride][:, :num_frames], self.num_segments)

        # One product for all means, since the layers are many and small; (B, S + 2, channels).
        means = torch.bmm(torch.cat([clock, over_time], dim=1), layers.transpose(1, 2))
        of_word, of_voice = means.split([self.num_segments, 2], dim=1)
        squares = torch.bmm(over_time, layers.square().transpose(1, 2))
        deviations = ((squares - of_voice.square()).clamp(min=0) + 1e-5).sqrt()
        first, last = features.shape[1], hidden[-1].shape[1]
        word = torch.cat([of_word[:, :, :first], of_word[:, :, -last:]], dim=2)
        return word.flatten(1), torch.cat([of_voice, deviations], dim=1).flatten(1)
