"""The shared model: one for everybody, behind the calls of a personalized one."""

from torch import nn

from vofp_plugin.lobes.enrollment import relative_lengths
from vofp_plugin.lobes.normalization import keep_statistics_


class SharedModel(nn.Module):
    """A main model alone behind the calls of `PersonalizedModel`: the baseline for everybody.

    Arguments
    ---------
    main_model : torch.nn.Module
        Maps features (B, T, F) and relative lengths (B,) to any output.

    Example
    -------
    >>> import torch
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> SharedModel(DSCNN(num_classes=10))(torch.rand(8, 101, 40)).shape
    torch.Size([8, 10])
    """

    enrollments = ("shared",)

    def __init__(self, main_model):
        super().__init__()
        self.main_model = keep_statistics_(main_model)

    def forward(self, feats, lens=None, weights=None):
        """Runs the main model on features (B, T, F) with relative lengths (B,), or None."""
        return self.main_model(feats, relative_lengths(feats, lens))

    def personalize(self, enrollment):
        """Gives no weights, whatever the enrollment."""
        return None

    def draw(self, enrollment, generator=None):
        """Gives no weights and a KL divergence of 0 nats for each speaker, (N,)."""
        return None, enrollment.lens.new_zeros(len(enrollment.lens))
