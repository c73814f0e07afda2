"""Comparison rows checked by hand, and what is written of them."""

import json
import math

import pytest
from made_up_runs import made_up_run, made_up_runs

from vofp_plugin.evaluation.comparison import ROW_KEYS, compare
from vofp_plugin.evaluation.pooling import made_like, pool_systems
from vofp_plugin.evaluation.records import read_rows, record_rows
from vofp_plugin.evaluation.reports import read_metrics, write_comparison, write_report
from vofp_plugin.evaluation.tables import METRICS, comparison_table, headline_table, section_tables

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


def given(run, enrollment, shift):
    """The run with another enrollment kind, whose accuracies are those of own plus a shift."""
    for key in ("per_speaker", "calibration"):
        own = [entry for entry in run[key] if entry["enrollment"] == "own"]
        run[key] += [{**entry, "enrollment": enrollment} for entry in own]
    for entry in run["per_speaker"]:
        if entry["enrollment"] == enrollment:
            entry["accuracy"] += shift
    return run


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
        ("shared", "shared", 0, "accuracy", 0.77),  # the mean of both seeds
        ("shared_again", "shared", 0, "accuracy", 0.74),
        ("shared_large", "shared", 0, "accuracy", 0.8),
        ("shared_large", "shared", 0, "vs_shared", 0.03),
        ("vofp", "none", 0, "accuracy", 0.778),
        ("vofp", "none", 0, "vs_shared", 0.008),
        ("vofp", "own", 1, "accuracy", 0.84),
        ("vofp", "own", 5, "accuracy", 0.898),
        ("vofp", "stranger", 5, "accuracy", 0.7),
        ("vofp", "own", 5, "nll", 0.44),
        ("shared", "shared", 0, "nll", 0.5),
        ("shared", "shared", 0, "ece", 0.07),  # (|3.6 - 3| + |5.9 - 6|) / 10
        ("vofp", "own", 5, "vs_stranger", 0.198),
        ("vofp", "own", 5, "vs_none", 0.12),
        ("vofp", "own", 5, "vs_shared", 0.128),
        ("vofp", "own", 1, "vs_shared", 0.07),
        ("vofp", "own", 5, "vs_k1", 0.058),
        ("vofp", "own", 5, "nll_vs_stranger", -0.06),  # -0.1 for four, 0.1 for emil
        ("vofp", "own", 5, "nll_vs_k1", 0.0),
        ("vofp", "own", 5, "error_reduction_vs_shared_large", 0.49),  # 1 - 0.102 / 0.2
        ("vofp", "own", 5, "error_reduction_vs_shared", 1 - 0.102 / 0.23),
        ("vofp", "own", 5, "harm", 0.0),  # emil is exactly one point below
        ("vofp", "none", 0, "harm", 0.0),  # 0.2 if it were of the mean of vofp's seeds
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
        ("vs_stranger", 2 / 32),  # all five speakers gain
        ("vs_none", 8 / 32),  # three gain, two stay
        ("vs_shared", 4 / 32),  # four gain, one stays
        ("nll_vs_stranger", 12 / 32),  # four gain as much as emil loses: |sum| of 3 or 5
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
    row = find(rows, "vofp", "own", 5, "vs_stranger")
    assert row["value"] == pytest.approx(0.198)
    assert 0 < row["ci_low"] < row["value"] < row["ci_high"]
    assert (row["p_value"], row["num_speakers"]) == (None, 25)
    share = find(rows, "vofp", "own", 5, "personal_share")
    assert share["value"] == pytest.approx(0.198 / 0.128)
    assert share["ci_low"] < share["value"] < share["ci_high"]


def test_no_personal_share_of_a_gain_in_doubt(rows):
    assert find(rows, "vofp", "own", 5, "personal_share") is None  # too few speakers
    runs = [
        many_speakers(run, 10) for run in (made_up_run("shared"), made_up_run("vofp", shift=-0.1))
    ]
    # 0.8 for all of anna, ben and carl, against 0.8, 0.8 and 0.6
    assert find(compare(runs), "vofp", "own", 5, "personal_share")["value"] == pytest.approx(3)
    runs[1] = many_speakers(made_up_run("vofp", shift=-0.16), 10)
    rows = compare(runs)
    gain = find(rows, "vofp", "own", 5, "vs_shared")
    assert gain["ci_low"] < 0 < gain["value"]
    assert find(rows, "vofp", "own", 5, "personal_share") is None


def test_other_personalized_systems_are_paired_with_vofp():
    runs = [*made_up_runs(), *(made_up_run("film", fold, shift=-0.1) for fold in (0, 1))]
    rows = compare(runs)
    for shots in (1, 5):
        row = find(rows, "film", "own", shots, "vs_vofp")
        assert row["value"] == pytest.approx(-0.1)
        assert row["p_value"] == 2 / 32
        assert find(rows, "film", "own", shots, "nll_vs_vofp")["value"] == 0.0
        assert find(rows, "vofp", "own", shots, "vs_vofp") is None
    assert find(rows, "film", "stranger", 5, "vs_vofp") is None


def test_other_enrollments_are_paired_with_own_and_shared():
    runs = [run for run in made_up_runs() if run["system"] != "vofp"]
    runs += [given(made_up_run("vofp", fold), "own_sampled", 0.01) for fold in (0, 1)]
    runs[-2:] = [given(run, "silence", -0.09) for run in runs[-2:]]
    rows = compare(runs)
    values = {"own_sampled": (0.01, 0.138), "silence": (-0.09, 0.038)}
    for enrollment, (vs_own, vs_shared) in values.items():
        for metric, value in (("vs_own", vs_own), ("vs_shared", vs_shared)):
            row = find(rows, "vofp", enrollment, 5, metric)
            assert row["value"] == pytest.approx(value)
    # 0.81 for anna to carl; emil's 0.7 is ten points below shared
    assert find(rows, "vofp", "silence", 5, "harm")["value"] == pytest.approx(0.4)
    sampled = find(rows, "vofp", "own_sampled", 5, "error_reduction_vs_shared_large")
    assert sampled["value"] == pytest.approx(1 - 0.092 / 0.2)
    assert find(rows, "vofp", "silence", 5, "error_reduction_vs_shared_large") is None
    assert find(rows, "vofp", "own_sampled", 5, "ece")["value"] == pytest.approx(0.07)
    assert {row["metric"] for row in rows} <= set(METRICS)
    assert "| vofp | silence | 5 | 80.8 |" in comparison_table(rows)


def test_hardest_fifth_is_chosen_by_another_seed_in_quiet(rows):
    # The first seed of shared is lowest for carl, the second for emil.
    shared = find(rows, "shared", "shared", 0, "accuracy", "hardest")
    assert (shared["value"], shared["num_runs"]) == (0.8, 2)
    row = find(rows, "vofp", "own", 5, "vs_shared", "hardest", "noise")
    assert row["value"] == pytest.approx(-0.01)
    assert row["num_speakers"] == 1
    assert find(rows, "shared", "shared", 0, "ece", "hardest") is None


def test_speakers_chosen_by_a_seed_are_no_result_of_it(rows):
    assert find(rows, "shared_again", "shared", 0, "accuracy", "hardest") is None


def test_what_starts_from_the_choosing_seed_is_left_out_too(rows):
    more = compare([*made_up_runs(), made_up_run("vofp", fold=1, seed=1, shift=-0.2)])
    for metric in ("accuracy", "vs_shared"):
        cell = ("vofp", "own", 5, metric, "hardest")
        assert find(more, *cell)["value"] == find(rows, *cell)["value"]
    alone = [run for run in made_up_runs() if run["system"] != "vofp"]
    alone += [made_up_run("vofp", fold, seed=1) for fold in (0, 1)]
    assert find(compare(alone), "vofp", "own", 5, "accuracy", "hardest") is None


def test_a_third_seed_chooses_the_hardest_fifth_and_leaves_the_second_for_harm():
    rows = compare([*made_up_runs(), *(made_up_run("shared", fold, seed=2) for fold in (0, 1))])
    shared = find(rows, "shared", "shared", 0, "accuracy")
    assert (shared["num_runs"], shared["value"]) == (6, pytest.approx((0.8 + 0.74 + 0.76) / 3))
    again = find(rows, "shared_again", "shared", 0, "accuracy")
    assert (again["num_runs"], again["value"]) == (2, pytest.approx(0.74))
    # The third seed is lowest for anna: 0.8 in the first seed, 0.9 in the second.
    assert find(rows, "shared", "shared", 0, "accuracy", "hardest")["value"] == pytest.approx(0.85)
    assert find(rows, "shared_again", "shared", 0, "harm", "hardest")["value"] == 0.0
    assert find(rows, "vofp", "own", 5, "vs_shared", "hardest")["value"] == pytest.approx(0.05)


def test_missing_systems_leave_their_rows_out():
    rows = compare([made_up_run("vofp")])
    metrics = {row["metric"] for row in rows}
    assert metrics == {
        *("accuracy", "nll", "ece"),
        *("vs_stranger", "vs_none", "vs_k1"),
        *("nll_vs_stranger", "nll_vs_none", "nll_vs_k1"),
    }
    assert {row["subset"] for row in rows} == {"all"}


def test_no_error_reduction_where_the_baseline_has_no_error():
    runs = [made_up_run("shared"), made_up_run("vofp")]
    for entry in runs[0]["per_speaker"]:
        entry["accuracy"] = 1.0
    rows = compare(runs)
    assert find(rows, "vofp", "own", 5, "error_reduction_vs_shared") is None
    assert find(rows, "vofp", "own", 5, "harm")["value"] == 1.0


def test_order_of_runs_changes_nothing(rows):
    assert compare(made_up_runs()[::-1]) == rows


def test_calibration_adds_up_over_folds_and_seeds():
    systems = pool_systems(made_up_runs())
    bins = {name: next(iter(system.bins.values())) for name, system in systems.items()}
    assert bins["vofp"][:, 0].sum() == 30  # fold 0 has two seeds
    assert (bins["shared"][:, 0].sum(), bins["shared_again"][:, 0].sum()) == (40, 20)


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


def lost_seed(runs):
    runs[:] = [run for run in runs if (run["fold"], run["seed"]) != (1, 1)]


def lost_cell(runs):
    entries = runs[0]["per_speaker"]
    entries[:] = [entry for entry in entries if entry["enrollment"] != "none"]


def speaker_of_two_folds(runs):
    for run in runs:
        for entry in run["per_speaker"]:
            entry["speaker"] = entry["speaker"].replace("dora", "anna")


def other_settings(runs):
    runs[0]["settings"] = {**runs[0]["settings"], "beta": "0.1"}


def start_from(runs, start):
    for run in runs:
        if run["system"] == "vofp":
            run["settings"] = {**run["settings"], "start": start}


def other_start(runs):
    start_from(runs, "shared 00000000")


def other_conditions(runs):
    runs[0]["conditions"]["noise"] = {"snr": [0.0, 5.0]}


def other_noises(runs):
    runs[0]["evaluation"]["noises"] = ["rain.wav"]


def other_samples(runs):
    runs[0]["evaluation"]["test_samples"] = 4


def other_samples_of_sampled_weights(runs):
    for run in runs:
        own = [entry for entry in run["calibration"] if entry["enrollment"] == "own"]
        run["calibration"] += [{**entry, "enrollment": "own_sampled"} for entry in own]
    other_samples(runs)


def no_fold(runs):
    runs[0]["fold"] = None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_noises, r"evaluated with noises \['rain.wav'\] and \['white'\] \("),
        (other_samples_of_sampled_weights, "evaluated with test_samples 4 and 8 ."),
        (no_fold, r"the folds \[0, 1\] and of an official split"),
        (other_settings, "runs of vofp with other settings: beta, such as beta 0.1 and 1.0 .fold"),
        (other_start, "vofp that start from a shared of other settings than the runs of it here"),
        (other_conditions, "the condition noise as {'snr': .* and as {}"),
        (other_recipe, "expected one; compare them apart"),
        (other_speaker, "other test speakers or queries of fold 0, such as those of (anna|zoe)"),
        (lost_speaker, "other test speakers or queries of fold 0, such as those of anna"),
        (twice, "two runs of vofp with fold 0 and seed 0"),
        (lost_fold, r"no run of shared_large on fold \[1\]"),
        (lost_seed, r"shared with \{0: 2, 1: 1\} seeds by fold"),
        (lost_cell, r"runs of vofp with and without Cell\(enrollment='none'"),
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


def test_start_that_is_among_the_runs_or_is_not_compared_changes_nothing(rows):
    runs = made_up_runs()
    (made,) = {made_like(run) for run in runs if run["system"] == "shared"}
    for start in (made, "main_model 00000000"):
        start_from(runs, start)
        assert compare(runs) == rows


def test_number_of_samples_of_what_draws_none_changes_nothing(rows):
    runs = made_up_runs()
    other_samples(runs)
    assert compare(runs) == rows


def test_table_shows_what_the_rows_say(rows):
    table = comparison_table(rows)
    assert table.count("**Condition: ") == 4
    assert table.index("quiet, all") < table.index("quiet, hardest") < table.index("noise, all")
    lines = table.splitlines()
    assert "| vofp | own | 5 | 89.8 | 0.440 | 7.0 | 5 | 200 | 3 |" in lines
    paired = next(line for line in lines if line.startswith("| vofp | own | 5 | +19.8"))
    assert paired == (
        "| vofp | own | 5 | +19.8 (p = 0.062) | +12.0 (p = 0.25) | +12.8 (p = 0.12) "
        "| +5.8 (p = 0.25) | +55.7 (p = 0.12) | +49.0 (p = 0.25) | 0.0 | 5 | 200 | 3 |"
    )
    nll = next(line for line in lines if line.startswith("| vofp | own | 5 | -0.060"))
    assert nll.endswith("| +0.000 (p = 1) | 20.0 | 5 | 200 | 3 |")
    systems = [line.split()[1] for line in lines if line.startswith(("| shared", "| vofp"))]
    assert systems[:4] == ["shared", "shared_again", "shared_large", "vofp"]


def test_table_of_chosen_rows_has_no_empty_column(rows):
    table = comparison_table([row for row in rows if row["metric"] == "accuracy"])
    assert "| System | Enrollment | K | Accuracy (%) | Speakers | Answers | Runs |" in table
    assert "Harm" not in table and "vs:" not in table
    with pytest.raises(ValueError, match="got no row"):
        comparison_table([])


def test_table_of_chosen_metrics_has_them_in_order(rows):
    table = section_tables(rows, ["harm", "personal_share", "accuracy"])
    assert "| System | Enrollment | K | Harm (%) | Accuracy (%) | Speakers |" in table
    assert "| vofp | own | 5 | 0.0 | 89.8 | 5 | 200 | 3 |" in table
    assert "NLL" not in table and "Personal share" not in table
    with pytest.raises(ValueError, match=r"got the metrics \['speed'\], expected some of"):
        section_tables(rows, ["accuracy", "speed"])


def test_headline_has_one_line_for_each_system(rows):
    lines = headline_table(rows).splitlines()
    section = lines[: lines.index("**Condition: quiet, hardest fifth of the speakers**")]
    assert [line.split(" | ")[:3] for line in section[4:-1]] == [
        ["| shared", "shared", "0"],
        ["| shared_again", "shared", "0"],
        ["| shared_large", "shared", "0"],
        ["| vofp", "own", "5"],
    ]
    assert section[7] == (
        "| vofp | own | 5 | 89.8 | +19.8 (p = 0.062) | +55.7 (p = 0.12) | +49.0 (p = 0.25) "
        "| 0.0 | 0.440 | 7.0 | 5 | 200 | 3 |"
    )


def test_report_of_a_run(tmp_path):
    metrics = made_up_run("vofp")
    metrics["training"]["epochs"][0]["train_loss"] = math.nan
    report = write_report(metrics, tmp_path / "run")
    text = report.read_text()
    assert "| vofp | own | 5 | 90.0 | 0.400 | 7.0 | 3 | 120 | 1 |" in text
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
    for name in ("accuracy.png", "speakers.png", "reliability.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)


@pytest.mark.parametrize(
    ("system", "key", "message"),
    [
        ("shared_large", "parameters", "shared_large has 1,500 parameters, vofp 2,000; expected"),
        (
            "shared",
            "multiply_adds_per_query",
            "shared has 1,500 multiply adds per query, vofp 5,000",
        ),
    ],
)
def test_models_of_unequal_cost_are_told(tmp_path, caplog, system, key, message):
    runs = made_up_runs()
    write_comparison(runs, tmp_path)
    assert not caplog.text
    for run in runs:
        if run["system"] == system:
            run["model"][key] = 1500
    write_comparison(runs, tmp_path)
    assert message in caplog.text
    assert "- Parameters: shared 2,000, shared_large " in (tmp_path / "comparison.md").read_text()


def test_missing_shared_model_is_told(tmp_path, caplog):
    write_comparison([made_up_run("vofp")], tmp_path)
    assert "Got no run of shared, which systems are compared to" in caplog.text


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
