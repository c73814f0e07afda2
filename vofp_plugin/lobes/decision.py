"""Decision: calibrated scores of a claim and the threshold from which it is accepted, as a file."""

import json
from pathlib import Path

import torch
from torch import nn

from vofp_plugin.lobes.soft_and import SoftAnd
from vofp_plugin.utils.files import whole_file


class Decision(nn.Module):
    """Accepts a claim whose log-odds reach a threshold; both were found on validation speakers.

    Arguments
    ---------
    soft_and : SoftAnd
        Of the scores of a claim, such as that of the word and that of the speaker.
    threshold : float
        Of the log-odds, in nats; one for all K.

    Example
    -------
    >>> decision = Decision(SoftAnd(2), threshold=0.0)
    >>> path = getfixture("tmp_path") / "decision.json"
    >>> decision.save(path)
    >>> Decision.load(path).accepts(torch.tensor([[5.0, 5.0], [5.0, -5.0]])).tolist()
    [True, False]
    """

    def __init__(self, soft_and, threshold):
        super().__init__()
        self.soft_and = soft_and
        self.threshold = float(threshold)

    def forward(self, scores):
        """Maps scores (*, S) to log-odds (*), in nats."""
        return self.soft_and(scores)

    def accepts(self, scores):
        """Whether claims with scores (*, S) are accepted, (*), bool."""
        return self(scores) >= self.threshold

    def numbers(self):
        """All numbers: {"scale", "offset", "threshold"}."""
        buffers = {name: value.tolist() for name, value in self.soft_and.named_buffers()}
        return {**buffers, "threshold": self.threshold}

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
            return cls(soft_and, numbers["threshold"])
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise ValueError(
                f"{path} holds no decision ({error!r}); expected scale, offset and threshold. "
                "Train again, or restore that file."
            ) from error
