"""Classification scores: how often answers are right, how likely, and how sure they were."""

import torch


def calibration_bins(log_probs, targets, num_bins=15):
    """Count, confidence and correctness of answers in bins of equal confidence width.

    Bins of several batches, draws, folds or seeds add up.

    Arguments
    ---------
    log_probs : torch.Tensor
        Log-probabilities, in nats, shape (B, C).
    targets : torch.Tensor
        True class indices, shape (B,).
    num_bins : int
        Number of bins; bin i holds confidences in (i / num_bins, (i + 1) / num_bins].

    Returns
    -------
    torch.Tensor
        Columns [count, sum of confidences, sum of correct answers], shape (num_bins, 3).

    Raises
    ------
    ValueError
        If the shapes do not fit or the rows are not log-probabilities.

    Example
    -------
    >>> log_probs = torch.tensor([[0.9, 0.1], [0.2, 0.8]]).log()
    >>> calibration_bins(log_probs, torch.tensor([0, 0]), num_bins=1)
    tensor([[2.0000, 1.7000, 1.0000]], dtype=torch.float64)
    """
    log_probs, targets = _answers(log_probs, targets)
    confidence, answer = log_probs.exp().max(dim=1)
    index = ((confidence * num_bins).ceil().long() - 1).clamp(0, num_bins - 1)
    columns = torch.stack([torch.ones_like(confidence), confidence, (answer == targets).double()])
    bins = columns.new_zeros(num_bins, 3)
    return bins.index_add_(0, index, columns.T)


def expected_calibration_error(bins):
    """Mean gap between confidence and accuracy over bins, weighted by their counts.

    Arguments
    ---------
    bins : torch.Tensor or list
        Added results of ``calibration_bins``, shape (num_bins, 3).

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If the bins are empty.

    Source
    ------
    Guo, Pleiss, Sun, Weinberger. On Calibration of Modern Neural Networks. ICML 2017.

    Example
    -------
    >>> expected_calibration_error([[2.0, 1.5, 1.0], [2.0, 1.75, 2.0]])
    0.1875
    """
    count, confidence, correct = torch.as_tensor(bins, dtype=torch.float64).unbind(dim=1)
    if count.sum() <= 0:
        raise ValueError("got empty calibration bins, expected at least one answer")
    return ((confidence - correct).abs().sum() / count.sum()).item()


class SpeakerScores:
    """Accuracy and negative log-likelihood of each speaker, pooled over everything added.

    Example
    -------
    >>> scores = SpeakerScores()
    >>> scores.add("anna", torch.tensor([[0.5, 0.5], [0.75, 0.25]]).log(), torch.tensor([0, 1]))
    >>> scores.per_speaker()
    [{'speaker': 'anna', 'accuracy': 0.5, 'nll': 1.0397207736968994, 'num_queries': 2}]
    """

    def __init__(self):
        self._sums = {}

    def add(self, speaker, log_probs, targets):
        """Add answers to queries of one speaker; enrollment draws are added one after another.

        Arguments
        ---------
        speaker : str
        log_probs : torch.Tensor
            Log-probabilities, in nats, shape (B, C).
        targets : torch.Tensor
            True class indices, shape (B,).

        Raises
        ------
        ValueError
            If the shapes do not fit or the rows are not log-probabilities.
        """
        log_probs, targets = _answers(log_probs, targets)
        correct = (log_probs.argmax(dim=1) == targets).sum().item()
        nll = -log_probs.gather(1, targets[:, None]).sum().item()
        sums = self._sums.setdefault(speaker, [0, 0.0, 0])
        for index, value in enumerate((correct, nll, len(targets))):
            sums[index] += value

    def per_speaker(self):
        """Scores of every speaker, sorted by name.

        Returns
        -------
        list of dict
            ``speaker``, ``accuracy`` in [0, 1], ``nll`` in nats and ``num_queries`` added.
        """
        return [
            {
                "speaker": speaker,
                "accuracy": correct / count,
                "nll": nll / count,
                "num_queries": count,
            }
            for speaker, (correct, nll, count) in sorted(self._sums.items())
        ]


def _answers(log_probs, targets):
    if log_probs.ndim != 2 or targets.shape != log_probs.shape[:1] or len(targets) == 0:
        raise ValueError(
            f"got log_probs of shape {tuple(log_probs.shape)} and targets of shape "
            f"{tuple(targets.shape)}, expected (B, C) and (B,) with B >= 1"
        )
    log_probs, targets = log_probs.detach().cpu().double(), targets.cpu()
    totals = log_probs.logsumexp(dim=1)
    chosen = log_probs.gather(1, targets[:, None])
    if not ((totals.abs() < 0.05).all() and chosen.isfinite().all()):
        raise ValueError(
            f"got log_probs of total probability {totals.exp().min().item():.3g} to "
            f"{totals.exp().max().item():.3g}, expected finite log-probabilities; apply "
            "log_softmax to logits, and look for a diverged training if there are NaN"
        )
    return log_probs, targets
