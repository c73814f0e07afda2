"""Statistics of SpeechBrain's `InputNormalization`, saved with the model that it is a part of."""

from speechbrain.processing.features import InputNormalization


class KeptNormalization(InputNormalization):
    """An `InputNormalization` whose global statistics are in the state dict of its model.

    SpeechBrain's are in none: they have a file of their own. Before the first training batch,
    features pass as they are in evaluation, where SpeechBrain's fails.

    Example
    -------
    >>> import torch
    >>> trained, loaded = KeptNormalization(), KeptNormalization()
    >>> _ = trained(torch.rand(2, 101, 40), torch.ones(2))
    >>> _ = loaded.load_state_dict(trained.state_dict())
    >>> torch.equal(loaded.glob_mean, trained.glob_mean)
    True
    """

    def forward(self, x, lengths=None, epoch=None):
        """Normalizes `x` (B, T, F) with relative lengths (B,); as SpeechBrain's."""
        if self.count == 0 and not self.training:
            return x
        self.glob_mean, self.glob_std = self.glob_mean.to(x), self.glob_std.to(x)
        return super().forward(x, lengths, epoch)

    def get_extra_state(self):
        """What `state_dict` holds: the count, the means and the standard deviations."""
        return self._statistics_dict()

    def set_extra_state(self, state):
        """Takes what `get_extra_state` gave."""
        self._load_statistics_dict(state)


def keep_statistics_(model):
    """Turns every global `InputNormalization` of a model into a `KeptNormalization`, in place.

    Arguments
    ---------
    model : torch.nn.Module

    Returns
    -------
    torch.nn.Module
        `model`.

    Example
    -------
    >>> type(keep_statistics_(InputNormalization())).__name__
    'KeptNormalization'
    """
    for module in model.modules():
        if type(module) is InputNormalization and module.norm_type == "global":
            module.__class__ = KeptNormalization
    return model
