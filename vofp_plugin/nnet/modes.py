"""Modes: how injected tensors join the shared weights, and the prior that goes with that."""

import torch

from vofp_plugin.nnet.posterior import DiagonalGaussian, standard_prior


class Residual:
    """Injected tensors are added to the shared weights; without enrollment nothing is.

    Arguments
    ---------
    prior_std : float
        Standard deviation of the prior of every number.

    Example
    -------
    >>> from vofp_plugin.nnet.forms import Full
    >>> mode = Residual(prior_std=0.5)
    >>> mode.weight(Full(torch.Size([3])), torch.ones(2, 3), torch.zeros(3)).shape
    torch.Size([2, 3])
    """

    def __init__(self, prior_std=0.3):
        self.spread = standard_prior(prior_std)

    def __repr__(self):
        return f"{type(self).__name__}(prior_std={self.spread.std.item():g})"

    def prior(self, none_numbers):
        """Gives the prior of every number, around what stands for no enrollment (P,).

        That is zero, but for the random factor of "low_rank", whose distance to zero says nothing
        about a speaker.
        """
        mean = none_numbers.unsqueeze(0)
        return DiagonalGaussian(mean, self.spread.log_var.to(mean.device))

    def start(self, form, shared, generator=None):
        """Numbers (size,) of a form by which the model starts as the shared one."""
        return form.no_change(generator)

    def free(self, form):
        """Says of each number (size,) whether the enrollment may change it at the start."""
        return form.is_free()

    def weight(self, form, numbers, shared):
        """Makes weights (N, *shape) of numbers (N, size) of a form."""
        return form.added(numbers, shared)

    def reads_shared(self, form):
        """Says whether the shared weights matter once there are injected ones."""
        return True

    def update_none_(self, none_numbers, numbers, momentum):
        """Moves what stands for no enrollment (P,) by numbers of speakers (N, P): here not."""

    def restart(self, start):
        """Calls `start`, for the main model has other weights: here not, as they are added to."""


class Replace(Residual):
    """Injected tensors are the weights, with the prior N(0, 1) of every number.

    What stands for a speaker without enrollment is the mean over the training speakers.

    Example
    -------
    >>> Replace().prior(torch.ones(4)).std
    tensor([[1.]])
    """

    def __init__(self):
        super().__init__(prior_std=1.0)

    def prior(self, none_numbers):
        """Gives the prior of every number, around zero."""
        return super().prior(none_numbers.new_zeros(1))

    def start(self, form, shared, generator=None):
        """Numbers (size,) of a form that give the shared weights, where the form can."""
        return form.same_as(shared, generator)

    def free(self, form):
        """Says that the enrollment may change all numbers (size,) at the start."""
        return torch.ones(form.size, dtype=torch.bool)

    def weight(self, form, numbers, shared):
        """Makes weights (N, *shape) of numbers (N, size) of a form, whose tensor they are."""
        return form.tensor(numbers, shared)

    def reads_shared(self, form):
        """Says whether the form itself reads the shared weights."""
        return form.reads_shared

    def update_none_(self, none_numbers, numbers, momentum):
        """Moves what stands for no enrollment (P,) towards the mean of speakers (N, P)."""
        none_numbers.lerp_(numbers.mean(0), momentum)

    def restart(self, start):
        """Calls `start`, for the main model has other weights."""
        start()
