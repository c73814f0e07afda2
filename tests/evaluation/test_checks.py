"""Runs that cannot be compared are refused, each with its reason."""

import pytest
from made_up_runs import made_up_runs

from vofp_plugin.evaluation.checks import made_like
from vofp_plugin.evaluation.reports import write_comparison
from vofp_plugin.evaluation.scores import compare


@pytest.fixture(scope="module")
def rows():
    return compare(made_up_runs(), "shared")


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


def lost_score(runs):
    del runs[0]["per_speaker"][-1]["nll"]


def lost_reference(runs):
    runs[:] = [run for run in runs if run["system"] != "shared"]


def kept_name(runs):
    for run in runs:
        run["system"] = run["system"].replace("shared_large", "shared_again")


def no_fold(runs):
    runs[0]["fold"] = None


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (other_noises, r"evaluated with noises \['rain.wav'\] and \['white'\] \("),
        (other_samples_of_sampled_weights, "evaluated with test_samples 4 and 8 ."),
        (no_fold, "got runs of folds and of an official split"),
        (other_settings, "runs of vofp with other settings: beta, such as beta 0.1 and 1.0 .fold"),
        (other_start, "vofp that start from a shared of other settings than the runs of it here"),
        (other_conditions, "the condition noise as {'snr': .* and as {}"),
        (other_recipe, "expected one; compare them apart"),
        (other_speaker, "other test speakers or queries of fold 0, such as those of (anna|zoe)"),
        (lost_speaker, "other test speakers or queries of fold 0, such as those of anna"),
        (twice, "two runs of vofp with fold 0 and seed 0"),
        (lost_fold, r"no run of shared_large on fold \[1\]"),
        (lost_seed, r"shared with \{0: 2, 1: 1\} seeds by fold"),
        (lost_score, r"speakers with and without nll \(vofp, seed 0\)"),
        (lost_reference, r"the reference shared, expected one of the systems \['shared_large', 'v"),
        (kept_name, "none called shared_again, which its second seed is called"),
        (lost_cell, r"runs of vofp with and without \('none', 0, "),
        (speaker_of_two_folds, "speaker anna in the test sets of the folds 0 and 1"),
        (list.clear, "got no run"),
    ],
)
def test_runs_that_do_not_pair_are_refused(tmp_path, spoil, message):
    runs = made_up_runs()
    spoil(runs)
    with pytest.raises(ValueError, match=message):
        write_comparison(runs, tmp_path / "out", "shared")
    assert not (tmp_path / "out").exists()


def test_start_that_is_among_the_runs_or_is_not_compared_changes_nothing(rows):
    runs = made_up_runs()
    (made,) = {made_like(run) for run in runs if run["system"] == "shared"}
    for start in (made, "main_model 00000000"):
        start_from(runs, start)
        assert compare(runs, "shared") == rows


def test_number_of_samples_of_what_draws_none_changes_nothing(rows):
    runs = made_up_runs()
    other_samples(runs)
    assert compare(runs, "shared") == rows
