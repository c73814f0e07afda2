"""Decision: calibrated scores of a claim and the threshold from which it is accepted, as a file."""

import json
import math
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from vofp_plugin.lobes.soft_and import SoftAnd
from vofp_plugin.utils.files import whole_file

UNSURE = 1e-6  # of a probability, at least


class OperatingPoint(NamedTuple):
    """A threshold, and the error rates that it had on validation speakers.

    Arguments
    ---------
    far : float
        Highest share of false claims that are accepted, by which the threshold was chosen.
    threshold : float
        Of the log-odds, in nats.
    frr : float
        Share of true claims that it rejects.

    Example
    -------
    >>> OperatingPoint(far=0.01, threshold=2.5, frr=0.2).far
    0.01
    """

    far: float
    threshold: float
    frr: float


class Decision(nn.Module):
    """Accepts a claim whose log-odds reach a threshold; both were found on validation speakers.

    Arguments
    ---------
    soft_and : SoftAnd
        Of the scores of a claim, such as that of the word and that of the speaker.
    threshold : float
        Of the log-odds, in nats; one for all K.
    operating_points : iterable of OperatingPoint
        Further thresholds to choose from.

    Example
    -------
    >>> decision = Decision(SoftAnd(2), threshold=0.0)
    >>> path = getfixture("tmp_path") / "decision.json"
    >>> decision.save(path)
    >>> Decision.load(path).accepts(torch.tensor([[5.0, 5.0], [5.0, -5.0]])).tolist()
    [True, False]
    """

    def __init__(self, soft_and, threshold, operating_points=()):
        super().__init__()
        self.soft_and = soft_and
        self.threshold = float(threshold)
        self.operating_points = tuple(operating_points)

    @property
    def num_scores(self):
        """S."""
        return len(self.soft_and.scale)

    def forward(self, scores):
        """Maps scores (*, S) to log-odds (*), in nats."""
        return self.soft_and(scores)

    def accepts(self, scores, far=None):
        """Whether claims with scores (*, S) are accepted, (*), bool; `far` as `threshold_at`."""
        return self(scores) >= self.threshold_at(far)

    def threshold_at(self, far=None):
        """Gives the threshold of the operating point for a share of false claims accepted.

        Arguments
        ---------
        far : float
            Of an operating point; None gives the decision's own threshold.

        Returns
        -------
        float

        Raises
        ------
        ValueError
            If there is no such operating point.
        """
        if far is None:
            return self.threshold
        thresholds = {point.far: point.threshold for point in self.operating_points}
        if far not in thresholds:
            raise ValueError(
                f"Got far {far!r}; expected one of the operating points of this model: "
                f"{', '.join(map(str, thresholds)) or 'it has none'}."
            )
        return thresholds[far]

    def numbers(self):
        """All numbers: {"scale", "offset", "threshold", "operating_points"}."""
        buffers = {name: value.tolist() for name, value in self.soft_and.named_buffers()}
        points = [point._asdict() for point in self.operating_points]
        return {**buffers, "threshold": self.threshold, "operating_points": points}

    def save(self, path):
        """Writes the numbers, as JSON."""
        with whole_file(path) as partial:
            partial.write_text(json.dumps(self.numbers(), indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path):
        """Reads what `save` wrote.

        Raises
        ------
        FileNotFoundError
            If there is no such file.
        ValueError
            If it holds something else.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"Found no {path}, which a finished training of a detector writes; train again."
            )
        try:
            numbers = json.loads(Path(path).read_text(encoding="utf-8"))
            scale, offset = (torch.tensor(numbers[key]) for key in ("scale", "offset"))
            soft_and = SoftAnd(len(scale))
            soft_and.load_state_dict({"scale": scale, "offset": offset})
            points = [OperatingPoint(**point) for point in numbers.get("operating_points", [])]
            return cls(soft_and, numbers["threshold"], points)
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} holds no decision ({error!r}); expected scale, offset and threshold. "
                "Train again, or restore that file."
            ) from error


def log_odds(log_probs):
    """Log-odds (*), in nats, of log-probabilities; bounded where one is 0.

    Example
    -------
    >>> log_odds(torch.tensor([0.5]).log())
    tensor([0.])
    """
    return log_probs - torch.log1p(-log_probs.exp().clamp(max=1 - UNSURE))


def log_probability(log_odds):
    """Log-probability (*) of log-odds (*); torch's own logsigmoid is coarse where ONNX runs it.

    Example
    -------
    >>> log_probability(torch.tensor([0.0])).exp()
    tensor([0.5000])
    """
    return -nn.functional.softplus(-log_odds)


def class_log_odds(log_probs):
    """Log-odds (*, C), in nats, of log-probabilities (*, C) of all classes; bounded as `log_odds`.

    They are taken from the other classes, which tells more digits where one is nearly sure.

    Example
    -------
    >>> class_log_odds(torch.tensor([0.5, 0.3, 0.2]).log()).exp()
    tensor([1.0000, 0.4286, 0.2500])
    """
    itself = torch.eye(log_probs.shape[-1], dtype=torch.bool, device=log_probs.device)
    others = log_probs.unsqueeze(-2).masked_fill(itself, -math.inf).logsumexp(dim=-1)
    return (log_probs - others).clamp(max=math.log(1 / UNSURE - 1))
