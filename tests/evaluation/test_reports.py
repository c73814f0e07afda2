"""What is written of a run and of a comparison."""

import json
import math

import pytest
from made_up_runs import made_up_run, made_up_runs

from vofp_plugin.evaluation.reports import read_metrics, write_comparison, write_report
from vofp_plugin.evaluation.scores import compare
from vofp_plugin.evaluation.tables import comparison_table

PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def rows():
    return compare(made_up_runs(), "shared")


def test_report_of_a_run(tmp_path):
    metrics = made_up_run("vofp")
    metrics["training"]["epochs"][0]["train_loss"] = math.nan
    report = write_report(metrics, tmp_path / "run")
    text = report.read_text()
    assert "| vofp | own, K = 5 | 90.0 | 0.400 | 7.0 |" in text
    assert "not available to us" in text
    names = {path.name for path in report.parent.iterdir()}
    plots = {"accuracy.png", "speakers.png", "training.png", "reliability.png"}
    assert names == {"metrics.json", "report.md", *plots}
    for name in plots:
        assert f"({name})" in text
        assert (report.parent / name).read_bytes().startswith(PNG)
    metrics["training"]["epochs"][0]["train_loss"] = None
    assert read_metrics(report.parent) == metrics


def test_report_of_a_shared_run_without_training(tmp_path):
    metrics = made_up_run("shared")
    metrics["training"], metrics["validation"] = {}, {}
    write_report(metrics, tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"metrics.json", "report.md", "accuracy.png", "reliability.png"}


def test_report_of_a_diverged_run_is_refused(tmp_path):
    metrics = made_up_run("shared")
    metrics["per_speaker"][0]["nll"] = math.inf
    with pytest.raises(ValueError, match="nll inf for speaker anna"):
        write_report(metrics, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_comparison_is_written(tmp_path, rows):
    assert write_comparison(made_up_runs(), tmp_path, "shared") == rows
    written = json.loads((tmp_path / "comparison.json").read_text())
    assert written["rows"] == rows
    assert len(written["runs"]) == len(made_up_runs())
    assert comparison_table(rows) in (tmp_path / "comparison.md").read_text()
    for name in ("accuracy.png", "speakers.png", "reliability.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)


def test_models_of_unequal_cost_are_told(tmp_path, caplog):
    runs = made_up_runs()
    write_comparison(runs, tmp_path, "shared")
    for run in runs:
        if run["system"] == "shared_large":
            run["model"]["parameters"] = 1500  # the multiply-adds are still the same
    write_comparison(runs, tmp_path, "shared")
    assert not caplog.text
    for run in runs:
        if run["system"] == "shared_large":
            run["model"]["multiply_adds_per_query"] = 9000
    write_comparison(runs, tmp_path, "shared")
    assert "shared_large, which is compared with shared, has 1,500 parameters (not 2" in caplog.text
    assert "and 9,000 multiply adds per query (not 5,000); expected as many" in caplog.text
    assert "vofp, which is" not in caplog.text
    text = (tmp_path / "comparison.md").read_text()
    assert "- parameters: shared 2,000, shared_large 1,500, vofp 2,000" in text


def test_a_comparison_names_its_reference(tmp_path):
    write_comparison([made_up_run("vofp")], tmp_path)
    assert "- Reference: none" in (tmp_path / "comparison.md").read_text()
    write_comparison([made_up_run("vofp"), made_up_run("film")], tmp_path, "film")
    assert "- Reference: film" in (tmp_path / "comparison.md").read_text()
    assert json.loads((tmp_path / "comparison.json").read_text())["reference"] == "film"


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        ({"speed": 0.5}, "has the scores .'num_queries', 'speed'., expected one of"),
        ({"accuracy": 0.5, "nll": 0.5, "eer": "low"}, "eer low for speaker anna"),
    ],
)
def test_a_score_that_is_no_number_or_unknown_is_refused(tmp_path, scores, message):
    metrics = made_up_run("shared")
    entry = metrics["per_speaker"][0]
    for key in ("accuracy", "nll"):
        del entry[key]
    entry |= scores
    with pytest.raises(ValueError, match=message):
        write_report(metrics, tmp_path / "run")
