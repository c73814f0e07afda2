"""Speaker-embedding concatenation: the main model reads who speaks in every frame."""

import torch
from torch import nn


class ConcatenatedModel(nn.Module):
    """A main model that reads the features of a query beside its speaker's code, in every frame.

    Arguments
    ---------
    main_model : torch.nn.Module
        Maps features (B, T, F + D) to log-probabilities (B, classes).
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
    >>> model(torch.rand(8, 101, 40), codes).shape  # 4 queries of each speaker
    torch.Size([8, 10])
    """

    enrollments = ("none", "own", "stranger")

    def __init__(self, main_model, encoder):
        super().__init__()
        self.main_model = main_model
        self.encoder = encoder

    def forward(self, x, codes=None):
        """Maps features `x` (N * Q, T, F) with codes (N, D), or None, to log-probabilities."""
        if codes is None:
            codes = x.new_zeros(1, self.encoder.code_size)
        codes = codes.repeat_interleave(len(x) // len(codes), dim=0)
        frames = codes.unsqueeze(1).expand(-1, x.shape[1], -1)
        return self.main_model(torch.cat([x, frames], dim=2))

    def personalize(self, enrollment):
        """Gives the codes (N, D) of an `Enrollment` of N speakers; zeros without any."""
        return self.encoder(self.encoder.summarize(enrollment))

    def draw(self, enrollment, generator=None):
        """Gives the codes, and a KL divergence of 0 nats for each speaker, (N,)."""
        codes = self.personalize(enrollment)
        return codes, codes.new_zeros(len(codes))
