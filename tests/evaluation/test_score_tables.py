"""Comparison rows as markdown and as recorded CSV."""

import pytest
from made_up_runs import made_up_run, made_up_runs

from vofp_plugin.evaluation.scores import compare
from vofp_plugin.evaluation.tables import (
    comparison_table,
    headline_table,
    read_rows,
    record_rows,
    section_tables,
)


@pytest.fixture(scope="module")
def rows():
    return compare(made_up_runs(), "shared")


def test_table_shows_what_the_rows_say(rows):
    table = comparison_table(rows)
    assert table.count("**Condition: ") == 4
    assert "quiet, all speakers** (5 speakers, 200 answers, 2 to 4 runs of each system)" in table
    assert table.index("quiet, all") < table.index("quiet, hardest") < table.index("noise, all")
    lines = table.splitlines()
    assert "| vofp | own, K = 5 | 89.8 | 0.440 | 7.0 |" in lines
    paired = next(line for line in lines if line.startswith("| vofp | own, K = 5 | +19.8"))
    assert paired == (
        "| vofp | own, K = 5 | +19.8 (p = 0.062) | +12.0 (p = 0.25) | +5.8 (p = 0.25) "
        "| +12.8 (p = 0.12) | +55.7 (p = 0.12) | 0.0 |"
    )
    nll = next(line for line in lines if line.startswith("| vofp | own, K = 5 | -0.060"))
    assert "| +0.000 (p = 1) |" in nll and nll.endswith("| 20.0 |")
    systems = [line.split()[1] for line in lines if line.startswith(("| shared", "| vofp"))]
    assert systems[:4] == ["shared", "shared_again", "shared_large", "vofp"]


def test_table_of_chosen_rows_has_no_empty_column(rows):
    table = comparison_table([row for row in rows if row["metric"] == "accuracy"])
    assert "| System | Enrollment | Accuracy (%) |\n" in table
    assert "Harm" not in table and "vs:" not in table
    with pytest.raises(ValueError, match="got no row"):
        comparison_table([])


def test_table_of_chosen_metrics_has_them_in_order(rows):
    table = section_tables(rows, ["harm", "accuracy"])
    assert "| System | Enrollment | Harm (%) | Accuracy (%) |\n" in table
    assert "| vofp | own, K = 5 | 0.0 | 89.8 |" in table
    assert "NLL" not in table
    with pytest.raises(ValueError, match=r"got the metrics \['speed'\], expected some of"):
        section_tables(rows, ["accuracy", "speed"])


def test_headline_has_one_line_for_each_system(rows):
    lines = headline_table(rows).splitlines()
    end = next(i for i, line in enumerate(lines) if line.startswith("**Condition: quiet, hardest"))
    assert lines[2] == (
        "| System | Enrollment | Accuracy (%) | vs stranger | vs shared "
        "| Error reduction vs shared (%) |"
    )
    assert [line.split(" | ")[:2] for line in lines[4 : end - 1]] == [
        ["| shared", "shared"],
        ["| shared_again", "shared"],
        ["| shared_large", "shared"],
        ["| vofp", "own, K = 5"],
    ]
    assert lines[7] == (
        "| vofp | own, K = 5 | 89.8 | +19.8 (p = 0.062) | +12.8 (p = 0.12) | +55.7 (p = 0.12) |"
    )


def test_headline_of_another_score_and_of_no_reference():
    run = made_up_run("vofp")
    for entry in run["per_speaker"]:
        entry["eer"] = 1 - entry.pop("accuracy")
        del entry["nll"]
    lines = headline_table(compare([run])).splitlines()
    assert lines[2] == "| System | Enrollment | EER (%) | EER vs stranger |"
    assert lines[4] == "| vofp | own, K = 5 | 10.0 | -20.0 (p = 0.25) |"


def test_a_metric_that_nobody_knows_is_refused(rows):
    with pytest.raises(ValueError, match="the metric 'speed', expected one of those of `vofp com"):
        section_tables([{**rows[0], "metric": "speed"}])


def test_recorded_rows_replace_those_of_their_label(tmp_path, rows):
    path = tmp_path / "results.csv"
    record_rows(path, "first", rows)
    record_rows(path, "second", rows[:2])
    before = path.read_text()
    record_rows(path, "first", rows[::-1])
    assert path.read_text() == before
    record_rows(path, "first", rows[:1])
    assert [row["label"] for row in read_rows(path)] == ["first", "second", "second"]


def test_recorded_rows_give_the_same_table(tmp_path, rows):
    record_rows(tmp_path / "results.csv", "kws", rows)
    assert comparison_table(read_rows(tmp_path / "results.csv")) == comparison_table(rows)


def test_spoiled_records_are_refused(tmp_path, rows):
    path = tmp_path / "results.csv"
    with pytest.raises(FileNotFoundError, match="vofp compare --record"):
        read_rows(path)
    with pytest.raises(ValueError, match="without spaces"):
        record_rows(path, "two words", rows)
    record_rows(path, "kws", rows)
    path.write_text(path.read_text().replace("0.898000", "much"))
    with pytest.raises(ValueError, match="results.csv: .*'much'; expected recorded"):
        record_rows(path, "kws", rows)
    path.write_text("a,b\n")
    with pytest.raises(ValueError, match="got the columns"):
        read_rows(path)
