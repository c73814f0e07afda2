"""Adapted models: shared models that are adapted to labelled enrollment, by a setting to choose.

How each speaker's enrollment adapts a trained shared model depends on settings, which are chosen
on validation speakers; doing nothing is always among them.
"""

from vofp_plugin.lobes.baselines.shared import SharedModel

NOTHING = {}  # the setting that leaves the shared model as it is


class AdaptedModel(SharedModel):
    """What all adapted models share: their settings, and the calls of `PersonalizedModel`.

    A subclass gives `adaptations`, and `forward` for what they are.

    Arguments
    ---------
    main_model : torch.nn.Module
        Maps features (B, T, F) to log-probabilities (B, classes).
    settings : list of dict
        What can be chosen, beside doing nothing.

    Example
    -------
    >>> import torch
    >>> from vofp_plugin.lobes.models.ds_cnn import DSCNN
    >>> from vofp_plugin.lobes.enrollment import Enrollment
    >>> class Counting(AdaptedModel):
    ...     def adaptations(self, enrollment, settings):
    ...         yield from (enrollment.labels.sum() * setting["step"] for setting in settings)
    >>> model = Counting(DSCNN(num_classes=10), [{"step": 1}, {"step": 2}])
    >>> labels = torch.tensor([[3, 4]])
    >>> enrollment = Enrollment(torch.rand(1, 2, 101, 40), torch.ones(1, 2), labels)
    >>> model.setting = model.settings[-1]
    >>> model.personalize(enrollment).item()
    14
    """

    enrollments = ("none", "own", "stranger")

    def __init__(self, main_model, settings):
        super().__init__(main_model)
        self.settings = [NOTHING, *settings]
        self.setting = NOTHING

    def learn(self, batches):
        """Learns what the adaptation needs to know of the training set, once the epoch is over.

        Arguments
        ---------
        batches : iterable of (torch.Tensor, torch.Tensor)
            Features (B, T, F) and class indices (B,).
        """

    def personalize(self, enrollment):
        """Adapts to the enrollment of N speakers by `setting`; None stands for the shared model."""
        if self.setting == NOTHING or not enrollment.present.any():
            return None
        if enrollment.labels is None:
            raise ValueError(
                "Got enrollment without labels; adaptation needs the class of every word said."
            )
        return next(self.adaptations(enrollment, [self.setting]))

    def adaptations(self, enrollment, settings):
        """Adapts to the enrollment of N speakers in several ways.

        Arguments
        ---------
        enrollment : Enrollment
            With labels.
        settings : list of dict

        Yields
        ------
        object
            What `forward` takes, for each of the settings in turn; None for doing nothing.
        """
        raise NotImplementedError
