"""Comparison rows checked by hand, and what is written of them."""

import json
import math

import pytest
from made_up_runs import made_up_run, made_up_runs

from vofp_plugin.utils.comparison import ROW_KEYS, compare, pool_systems
from vofp_plugin.utils.records import read_rows, record_rows
from vofp_plugin.utils.reports import read_metrics, write_comparison, write_report
from vofp_plugin.utils.tables import comparison_table

PNG = b"\x89PNG\r\n"


@pytest.fixture(scope="module")
def rows():
    return compare(made_up_runs())


def find(rows, system, enrollment, shots, metric, subset="all", condition="quiet"):
    wanted = (system, enrollment, shots, metric, subset, condition)
    keys = ("system", "enrollment", "shots", "metric", "subset", "condition")
    found = [row for row in rows if tuple(row[key] for key in keys) == wanted]
    assert len(found) <= 1
    return found[0] if found else None


def many_speakers(run, copies=5):
    """The same run with every speaker ``copies`` times, under new names."""
    run["per_speaker"] = [
        {**entry, "speaker": f"{entry['speaker']}{copy}"}
        for entry in run["per_speaker"]
        for copy in range(copies)
    ]
    return run


@pytest.mark.parametrize(
    ("system", "enrollment", "shots", "metric", "value"),
    [
        ("shared", "shared", 0, "accuracy", 0.8),
        ("shared_again", "shared", 0, "accuracy", 0.74),
        ("shared_large", "shared", 0, "accuracy", 0.8),
        ("vofp", "none", 0, "accuracy", 0.778),
        ("vofp", "own", 1, "accuracy", 0.84),
        ("vofp", "own", 5, "accuracy", 0.898),
        ("vofp", "stranger", 5, "accuracy", 0.7),
        ("vofp", "own", 5, "nll", 0.44),
        ("shared", "shared", 0, "nll", 0.5),
        ("shared", "shared", 0, "ece", 0.07),  # (|3.6 - 3| + |5.9 - 6|) / 10
        ("vofp", "own", 5, "own - stranger", 0.198),
        ("vofp", "own", 5, "own - none", 0.12),
        ("vofp", "own", 5, "own - shared", 0.098),
        ("vofp", "own", 5, "own - own at K = 1", 0.058),
        ("vofp", "own", 5, "error_reduction vs shared_large", 0.49),  # 1 - 0.102 / 0.2
        ("vofp", "own", 5, "harm", 0.0),  # emil is exactly one point below
        ("vofp", "own", 5, "harm_nll", 0.2),
        ("shared_again", "shared", 0, "harm", 0.4),
        ("shared_again", "shared", 0, "harm_nll", 0.0),
    ],
)
def test_value_by_hand(rows, system, enrollment, shots, metric, value):
    assert find(rows, system, enrollment, shots, metric)["value"] == pytest.approx(value)


@pytest.mark.parametrize(
    ("metric", "p_value"),
    [
        ("own - stranger", 2 / 32),  # all five speakers gain
        ("own - none", 8 / 32),  # three gain, two stay
        ("own - shared", 8 / 32),  # as above, and emil's small loss may flip too
        ("accuracy", None),
    ],
)
def test_below_twenty_speakers_differences_have_an_exact_p_value(rows, metric, p_value):
    row = find(rows, "vofp", "own", 5, metric)
    assert tuple(row) == ROW_KEYS
    assert (row["p_value"], row["ci_low"], row["ci_high"]) == (p_value, None, None)
    assert (row["num_speakers"], row["num_queries"]) == (5, 200)


def test_from_twenty_speakers_on_there_is_an_interval():
    rows = compare([many_speakers(run) for run in made_up_runs()])
    row = find(rows, "vofp", "own", 5, "own - stranger")
    assert row["value"] == pytest.approx(0.198)
    assert 0 < row["ci_low"] < row["value"] < row["ci_high"]
    assert (row["p_value"], row["num_speakers"]) == (None, 25)


def test_hardest_fifth_is_chosen_by_another_seed_in_quiet(rows):
    # shared is lowest for carl, shared_again for emil.
    assert find(rows, "shared", "shared", 0, "accuracy", "hardest")["value"] == 0.8
    row = find(rows, "vofp", "own", 5, "own - shared", "hardest", "noise")
    assert row["value"] == pytest.approx(-0.01)
    assert row["num_speakers"] == 1
    assert find(rows, "shared", "shared", 0, "ece", "hardest") is None


def test_speakers_chosen_by_shared_again_are_no_result_of_it(rows):
    assert find(rows, "shared_again", "shared", 0, "accuracy", "hardest") is None


def test_missing_systems_leave_their_rows_out():
    rows = compare([made_up_run("vofp")])
    metrics = {row["metric"] for row in rows}
    assert metrics == {
        *("accuracy", "nll", "ece"),
        *("own - stranger", "own - none", "own - own at K = 1"),
    }
    assert {row["subset"] for row in rows} == {"all"}


def test_better_shared_system_is_chosen_on_validation_speakers():
    runs = made_up_runs()
    for run in runs:
        if run["system"] == "shared_large":
            run["validation"]["accuracy"] = 0.1
    row = find(compare(runs), "vofp", "own", 5, "error_reduction vs shared")
    assert row["value"] == pytest.approx(0.49)
    for run in runs:
        run["validation"] = None
    with pytest.raises(ValueError, match="without validation accuracy"):
        compare(runs)


def test_no_error_reduction_where_the_baseline_has_no_error():
    runs = [made_up_run("shared"), made_up_run("vofp")]
    for entry in runs[0]["per_speaker"]:
        entry["accuracy"] = 1.0
    rows = compare(runs)
    assert find(rows, "vofp", "own", 5, "error_reduction vs shared") is None
    assert find(rows, "vofp", "own", 5, "harm")["value"] == 1.0


def test_order_of_runs_changes_nothing(rows):
    assert compare(made_up_runs()[::-1]) == rows


def test_calibration_adds_up_over_folds_and_seeds():
    systems = pool_systems(made_up_runs())
    bins = {name: next(iter(system.bins.values())) for name, system in systems.items()}
    assert bins["vofp"][:, 0].sum() == 30  # fold 0 has two seeds
    assert bins["shared"][:, 0].sum() == 20


def other_recipe(runs):
    runs[0]["recipe"] = "Other/task"


def other_speaker(runs):
    for entry in runs[0]["per_speaker"]:
        entry["speaker"] = entry["speaker"].replace("anna", "zoe")


def lost_speaker(runs):
    own = [entry for entry in runs[0]["per_speaker"] if entry["enrollment"] == "own"]
    runs[0]["per_speaker"].remove(own[0])


def twice(runs):
    runs.append(runs[0])


def lost_fold(runs):
    runs[:] = [run for run in runs if (run["system"], run["fold"]) != ("shared_large", 1)]


def speaker_of_two_folds(runs):
    for run in runs:
        for entry in run["per_speaker"]:
            entry["speaker"] = entry["speaker"].replace("dora", "anna")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_recipe, "expected one; compare them apart"),
        (other_speaker, "other test speakers of fold 0, such as (anna|zoe)"),
        (lost_speaker, "other test speakers of fold 0, such as anna"),
        (twice, "two runs of vofp with fold 0 and seed 0"),
        (lost_fold, r"no run of shared_large on fold \[1\]"),
        (speaker_of_two_folds, "speaker anna in the test sets of the folds 0 and 1"),
        (list.clear, "got no run"),
    ],
)
def test_runs_that_do_not_pair_are_refused(tmp_path, spoil, message):
    runs = made_up_runs()
    spoil(runs)
    with pytest.raises(ValueError, match=message):
        write_comparison(runs, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_table_shows_what_the_rows_say(rows):
    table = comparison_table(rows)
    assert table.count("**Condition: ") == 4
    assert table.index("quiet, all") < table.index("quiet, hardest") < table.index("noise, all")
    lines = table.splitlines()
    assert "| vofp | own | 5 | 89.8 | 0.440 | 7.0 | 5 | 200 |" in lines
    paired = next(line for line in lines if line.startswith("| vofp | own | 5 | +19.8"))
    assert paired == (
        "| vofp | own | 5 | +19.8 (p = 0.062) | +12.0 (p = 0.25) | +9.8 (p = 0.25) "
        "| +5.8 (p = 0.25) | +49.0 (p = 0.25) | 0.0 | 20.0 | 5 | 200 |"
    )
    systems = [line.split()[1] for line in lines if line.startswith(("| shared", "| vofp"))]
    assert systems[:4] == ["shared", "shared_again", "shared_large", "vofp"]


def test_table_of_chosen_rows_has_no_empty_column(rows):
    table = comparison_table([row for row in rows if row["metric"] == "accuracy"])
    assert "| System | Enrollment | K | Accuracy (%) | Speakers | Queries |" in table
    assert "Harm" not in table
    with pytest.raises(ValueError, match="got no row"):
        comparison_table([])


def test_report_of_a_run(tmp_path):
    metrics = made_up_run("vofp")
    metrics["training"]["epochs"][0]["train_loss"] = math.nan
    report = write_report(metrics, tmp_path / "run")
    text = report.read_text()
    assert "| vofp | own | 5 | 90.0 | 0.400 | 7.0 | 3 | 120 |" in text
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
    assert write_comparison(made_up_runs(), tmp_path) == rows
    written = json.loads((tmp_path / "comparison.json").read_text())
    assert written["rows"] == rows
    assert len(written["runs"]) == len(made_up_runs())
    assert comparison_table(rows) in (tmp_path / "comparison.md").read_text()
    for name in ("accuracy.png", "speakers.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)


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
    with pytest.raises(ValueError, match=r"results.csv line \d+: .*'much'"):
        record_rows(path, "kws", rows)
    path.write_text("a,b\n")
    with pytest.raises(ValueError, match="has the columns"):
        read_rows(path)
