"""Decision: what is written is read again, and a damaged file says so."""

import pytest
import torch

from vofp_plugin.lobes.decision import Decision
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
