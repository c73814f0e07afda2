"""Comparison rows checked by hand."""

import pandas as pd
import pytest
from made_up_runs import find, given, made_up_run, made_up_runs, many_speakers

from vofp_plugin.evaluation.scores import (
    ROW_KEYS,
    bins_of,
    compare,
    hardest_fifth,
    with_again,
)
from vofp_plugin.evaluation.tables import comparison_table


@pytest.fixture(scope="module")
def rows():
    return compare(made_up_runs(), "shared")


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
        ("vofp", "own", 5, "error_reduction_vs_shared", 1 - 0.102 / 0.23),
        ("vofp", "own", 5, "harm", 0.0),  # emil is exactly one point below
        ("vofp", "none", 0, "harm", 0.0),  # 0.2 if it were of the mean of vofp's seeds
        ("vofp", "own", 5, "harm_nll", 0.2),
        ("shared_large", "shared", 0, "error_reduction_vs_shared", 0.03 / 0.23),
        ("shared_again", "shared", 0, "vs_shared", -0.06),  # of the first seed
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
    rows = compare([many_speakers(run) for run in made_up_runs()], "shared")
    row = find(rows, "vofp", "own", 5, "vs_stranger")
    assert row["value"] == pytest.approx(0.198)
    assert 0 < row["ci_low"] < row["value"] < row["ci_high"]
    assert (row["p_value"], row["num_speakers"]) == (None, 25)


def test_a_personalized_reference_is_compared_with_the_same_enrollment():
    runs = [*made_up_runs(), *(made_up_run("film", fold, shift=-0.1) for fold in (0, 1))]
    runs = [run for run in runs if (run["system"], run["seed"]) != ("vofp", 1)]
    rows = compare(runs, "vofp")
    for shots in (1, 5):
        row = find(rows, "film", "own", shots, "vs_vofp")
        assert row["value"] == pytest.approx(-0.16)  # fold 0 of vofp is shifted by 0.1
        assert row["p_value"] == 2 / 32
        assert find(rows, "film", "own", shots, "nll_vs_vofp")["value"] == 0.0
        assert find(rows, "film", "own", shots, "harm")["value"] == 1.0
        assert find(rows, "vofp", "own", shots, "vs_vofp") is None
    assert find(rows, "film", "none", 0, "vs_vofp")["value"] == pytest.approx(-0.16)
    assert find(rows, "film", "stranger", 5, "vs_vofp") is None
    assert find(rows, "shared", "shared", 0, "vs_vofp") is None


def test_a_larger_model_may_be_the_reference():
    row = find(compare(made_up_runs(), "shared_large"), "vofp", "own", 5, "vs_shared_large")
    assert row["value"] == pytest.approx(0.098)
    rows = compare(made_up_runs(), "shared_large")
    reduction = find(rows, "vofp", "own", 5, "error_reduction_vs_shared_large")
    assert reduction["value"] == pytest.approx(0.49)  # 1 - 0.102 / 0.2
    assert {row["subset"] for row in rows} == {"all"}  # one seed chooses nobody


def test_scores_of_other_tasks_are_compared_too():
    runs = [made_up_run("shared"), made_up_run("vofp")]
    for run in runs:
        run["calibration"] = []
        for entry in run["per_speaker"]:
            entry["eer"] = 1 - entry.pop("accuracy")
            del entry["nll"]
    rows = compare(runs, "shared")
    assert find(rows, "vofp", "own", 5, "eer")["value"] == pytest.approx(0.1)
    assert find(rows, "vofp", "own", 5, "eer_vs_shared")["value"] == pytest.approx(-0.5 / 3)
    # carl has 0.6 in both; strangers lose a point and more of all others' 0.8
    assert find(rows, "vofp", "none", 0, "harm_eer")["value"] == pytest.approx(1 / 3)


def test_other_enrollments_are_paired_with_own_and_shared():
    runs = [run for run in made_up_runs() if run["system"] != "vofp"]
    runs += [given(made_up_run("vofp", fold), "own_sampled", 0.01) for fold in (0, 1)]
    runs[-2:] = [given(run, "silence", -0.09) for run in runs[-2:]]
    rows = compare(runs, "shared")
    values = {"own_sampled": (0.01, 0.138), "silence": (-0.09, 0.038)}
    for enrollment, (vs_own, vs_shared) in values.items():
        for metric, value in (("vs_own", vs_own), ("vs_shared", vs_shared)):
            row = find(rows, "vofp", enrollment, 5, metric)
            assert row["value"] == pytest.approx(value)
    # 0.81 for anna to carl; emil's 0.7 is ten points below shared
    assert find(rows, "vofp", "silence", 5, "harm")["value"] == pytest.approx(0.4)
    sampled = find(rows, "vofp", "own_sampled", 5, "error_reduction_vs_shared")
    assert sampled["value"] == pytest.approx(1 - 0.092 / 0.23)
    assert find(rows, "vofp", "own_sampled", 5, "ece")["value"] == pytest.approx(0.07)
    assert "| vofp | silence, K = 5 | 80.8 |" in comparison_table(rows)


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
    more = compare([*made_up_runs(), made_up_run("vofp", fold=1, seed=1, shift=-0.2)], "shared")
    for metric in ("accuracy", "vs_shared"):
        cell = ("vofp", "own", 5, metric, "hardest")
        assert find(more, *cell)["value"] == find(rows, *cell)["value"]
    alone = [run for run in made_up_runs() if run["system"] != "vofp"]
    alone += [made_up_run("vofp", fold, seed=1) for fold in (0, 1)]
    assert find(compare(alone, "shared"), "vofp", "own", 5, "accuracy", "hardest") is None


def test_a_third_seed_chooses_the_hardest_fifth_and_leaves_the_second_for_harm():
    third = [made_up_run("shared", fold, seed=2) for fold in (0, 1)]
    rows = compare([*made_up_runs(), *third], "shared")
    shared = find(rows, "shared", "shared", 0, "accuracy")
    assert (shared["num_runs"], shared["value"]) == (6, pytest.approx((0.8 + 0.74 + 0.76) / 3))
    again = find(rows, "shared_again", "shared", 0, "accuracy")
    assert (again["num_runs"], again["value"]) == (2, pytest.approx(0.74))
    # The third seed is lowest for anna: 0.8 in the first seed, 0.9 in the second.
    assert find(rows, "shared", "shared", 0, "accuracy", "hardest")["value"] == pytest.approx(0.85)
    assert find(rows, "shared_again", "shared", 0, "harm", "hardest")["value"] == 0.0
    assert find(rows, "vofp", "own", 5, "vs_shared", "hardest")["value"] == pytest.approx(0.05)


def test_without_a_reference_a_system_is_compared_with_itself():
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
    rows = compare(runs, "shared")
    assert find(rows, "vofp", "own", 5, "error_reduction_vs_shared") is None
    assert find(rows, "vofp", "own", 5, "harm")["value"] == 1.0


def test_order_of_runs_changes_nothing(rows):
    assert compare(made_up_runs()[::-1], "shared") == rows


def test_calibration_adds_up_over_folds_and_seeds():
    bins = bins_of(with_again(made_up_runs(), "shared"))
    assert bins["vofp", "own", 5, "quiet"][:, 0].sum() == 30  # fold 0 has two seeds
    numbers = [bins[name, "shared", 0, "quiet"][:, 0].sum() for name in ("shared", "shared_again")]
    assert numbers == [40, 20]


def frame_of(scores):
    return pd.DataFrame.from_dict(scores, orient="index", columns=["accuracy", "nll"])


def test_hardest_fifth_does_not_depend_on_the_order():
    scores = {f"s{i}": (value, 0.1) for i, value in enumerate([0.9, 0.5, 0.7, 0.5, 0.8] * 2)}
    expected = ["s1", "s3"]
    assert hardest_fifth(frame_of(scores)) == expected
    assert hardest_fifth(frame_of(dict(reversed(scores.items())))) == expected
    assert hardest_fifth(frame_of({"a": (1.0, 0.1), "b": (1.0, 0.1)})) == ["a"]


def test_hardest_of_those_without_an_error_are_the_least_sure():
    scores = dict.fromkeys("acdefghi", (1.0, 0.01)) | {"b": (0.9, 0.0), "j": (1.0, 0.3)}
    assert hardest_fifth(frame_of(scores)) == ["b", "j"]
