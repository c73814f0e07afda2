"""Decision: what is written is read again, and a damaged file says so."""

import math

import pytest
import torch

from vofp_plugin.lobes.decision import Decision, class_log_odds, log_odds
from vofp_plugin.lobes.soft_and import SoftAnd


def test_what_is_read_decides_as_what_was_written(tmp_path):
    soft_and = SoftAnd(2)
    soft_and.scale.copy_(torch.tensor([0.3, 2.0]))
    soft_and.offset.copy_(torch.tensor([-1.0, 0.1]))
    decision, scores = Decision(soft_and, 0.25), 5 * torch.randn(200, 2)
    decision.save(tmp_path / "decision.json")
    again = Decision.load(tmp_path / "decision.json")
    assert torch.equal(again(scores), decision(scores))
    assert torch.equal(again.accepts(scores), decision(scores) >= 0.25)


@pytest.mark.parametrize(
    "text", ["", "[1]", '{"scale": [1.0]}', '{"scale": [1], "offset": [1, 2], "threshold": 0}']
)
def test_a_damaged_file_says_what_to_do(tmp_path, text):
    (tmp_path / "decision.json").write_text(text)
    with pytest.raises(ValueError, match="holds no decision .* Train again, or restore"):
        Decision.load(tmp_path / "decision.json")


def test_a_missing_file_says_what_to_do(tmp_path):
    with pytest.raises(FileNotFoundError, match="Found no .*decision.json.* train again"):
        Decision.load(tmp_path / "decision.json")


def test_log_odds_of_a_class_are_those_of_its_probability():
    log_probs = torch.randn(7, 5).double().mul(3).log_softmax(dim=1)
    torch.testing.assert_close(class_log_odds(log_probs), log_odds(log_probs))
    sure = torch.tensor([[30.0, 0.0], [9.0, 0.0]]).log_softmax(dim=1)
    most = math.log(1e6 - 1)
    torch.testing.assert_close(class_log_odds(sure)[:, :1], torch.tensor([[most], [9.0]]))
    assert class_log_odds(torch.zeros(1, 1)).item() == pytest.approx(most), "of the only class"
