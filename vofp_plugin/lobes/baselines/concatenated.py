"""Speaker-embedding concatenation: the main model reads who speaks in every frame."""

import torch
from torch import nn

from vofp_plugin.lobes.enrollment import relative_lengths


class ConcatenatedModel(nn.Module):
    """A main model that reads the features of a query beside its speaker's code, in every frame.

    Arguments
    ---------
    main_model : torch.nn.Module
        Maps features (B, T, F + D) and relative lengths (B,) to any output.
    encoder : EnrollmentEncoder
        Of code size D; the code is zero without enrollment.

    Example
    -------
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> from vofp_plugin.lobes.embeddings import ConvEmbedding
    >>> from vofp_plugin.lobes.enrollment import Enrollment, EnrollmentEncoder
    >>> encoder = EnrollmentEncoder(ConvEmbedding(), code_size=8)
    >>> model = ConcatenatedModel(DSCNN(num_classes=10, num_features=48), encoder).eval()
    >>> codes = model.personalize(Enrollment(torch.rand(2, 3, 101, 40), torch.ones(2, 3)))
    >>> model(torch.rand(8, 101, 40), weights=codes).shape  # 4 queries of each speaker
    torch.Size([8, 10])
    """

    enrollments = ("none", "own", "stranger")

    def __init__(self, main_model, encoder):
        super().__init__()
        self.main_model = main_model
        self.encoder = encoder

    def forward(self, feats, lens=None, weights=None):
        """Runs the main model on features (N * Q, T, F); the weights are codes (N, D), or None."""
        codes = feats.new_zeros(1, self.encoder.code_size) if weights is None else weights
        codes = codes.repeat_interleave(len(feats) // len(codes), dim=0)
        frames = codes.unsqueeze(1).expand(-1, feats.shape[1], -1)
        lens = relative_lengths(feats, lens)
        return self.main_model(torch.cat([feats, frames], dim=2), lens)

    def personalize(self, enrollment):
        """Gives the codes (N, D) of an `Enrollment` of N speakers; zeros without any."""
        return self.encoder(self.encoder.summarize(enrollment))

    def draw(self, enrollment, generator=None):
        """Gives the codes, and a KL divergence of 0 nats for each speaker, (N,)."""
        codes = self.personalize(enrollment)
        return codes, codes.new_zeros(len(codes))
