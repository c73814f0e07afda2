"""Keyword spotting: one of C classes for each query."""

import torch

from vofp_plugin.tasks.base import Task


class KeywordTask(Task):
    """Which of the words that were trained is said in a query.

    The main model gives log-probabilities (B, classes).

    Arguments
    ---------
    elbo : Elbo
    contrast : SpeakerContrast

    Example
    -------
    >>> from vofp_plugin.nnet.losses import Elbo
    >>> task = KeywordTask(Elbo(num_data=1))
    >>> task.classes([{"command": "up"}, {"command": "down"}, {"command": "up"}])
    ['down', 'up']
    >>> task.nll(torch.tensor([[0.5, 0.5]]).log(), torch.tensor([1])).round(decimals=3)
    tensor([0.6930])
    """

    def classes(self, rows):
        """Words of manifest rows, sorted."""
        return sorted({row["command"] for row in rows})

    def labels(self, rows, encoder, features):
        """Class index of the word of each row, (U,)."""
        return torch.tensor([encoder.encode_label(row["command"]) for row in rows])

    def answers(self, output, labels):
        """One answer for each item, as it is."""
        return output, labels
