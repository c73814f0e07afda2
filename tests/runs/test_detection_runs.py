"""Trial lists in a run: written before any score, scored again alike, refused before computing."""

import json
import shutil
from unittest.mock import patch

import numpy as np
import pytest
from tiny_runs import RECIPES, folder_contents, google_arguments, load_prepare

from vofp_plugin.dataio.manifests import read_manifest
from vofp_plugin.evaluation.reports import read_metrics
from vofp_plugin.evaluation.trial_lists import read_enrollments, read_trials
from vofp_plugin.lobes.decision import Decision
from vofp_plugin.runs.runner import run

RECIPE = RECIPES / "Google-speech-commands" / "target_speaker_kws"
YAML = RECIPE / "hparams" / "two_covariance.yaml"
FAST = (
    "--num_epochs=1",
    "--episodes_per_epoch=1",
    "--twins=1",
    '--conditions={"noise":null}',
    "--bad_enrollments=[]",
)


def run_detector(data_folder, output_folder, cache_folder, *options):
    """Runs the Google recipe of target speakers in this process, but draws no plots."""
    module, function = load_prepare(RECIPE)
    arguments = google_arguments(YAML, data_folder, output_folder, cache_folder, *FAST, *options)
    with patch("vofp_plugin.evaluation.reports.save_figure"):
        return run(getattr(module, function), arguments)


@pytest.fixture(scope="module")
def detector_run(tmp_path_factory, google_corpus, cache_folder):
    """Folder of a finished tiny run of a detector; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("runs") / "detector"
    run_detector(google_corpus, folder, cache_folder)
    return folder


@pytest.fixture
def run_folder(detector_run, tmp_path):
    return shutil.copytree(detector_run, tmp_path / "run")


def own_list(run_folder):
    """Copies of the trials and enrollments of a run, as lines."""
    names = ("test_trials.txt", "test_enrollments.txt")
    return [(run_folder / name).read_text().splitlines() for name in names]


def test_a_run_leaves_trials_decision_and_table(detector_run):
    detection = read_metrics(detector_run)["detection"]
    assert detection["decision"] == Decision.load(detector_run / "decision.json").numbers()
    cells = {(row["condition"], row["enrollment"], row["shots"]) for row in detection["rows"]}
    assert {(kind, shots) for _, kind, shots in cells} == {
        *((kind, shots) for kind in ("own", "stranger") for shots in (1, 3, "all")),
        ("none", 0),
    }
    assert {name for name, *_ in cells} == {"quiet", "own_noise"}
    trials = read_trials(detector_run / "test_trials.txt")
    asked = read_manifest(detector_run / "manifests" / "test.csv", "")
    assert {trial.query for trial in trials} <= set(asked)
    enrolled = read_enrollments(detector_run / "test_enrollments.txt")
    assert {trial.enrollment for trial in trials} == set(enrolled)
    validated = read_enrollments(detector_run / "valid_enrollments.txt")
    assert not {name for names in validated.values() for name in names} & set(asked)
    with np.load(detector_run / "test_scores.npz") as scores:
        assert set(scores) == {f"{name} {kind} {k}" for name, kind, k in cells if k != "all"}
        assert {values.shape for values in scores.values()} == {(len(trials),)}
    report = (detector_run / "report.md").read_text()
    assert "## Detection" in report and "![det](det.png)" in report


def test_tested_again_it_gives_the_same_table(run_folder, google_corpus, cache_folder):
    before = folder_contents(run_folder)
    metrics = run_detector(google_corpus, run_folder, cache_folder, "--test_only")
    assert json.loads(json.dumps(metrics["detection"])) == read_metrics(run_folder)["detection"]
    assert folder_contents(run_folder).items() >= before.items()


def test_a_list_of_ones_own_gives_its_table(run_folder, google_corpus, cache_folder, tmp_path):
    trials, enrollments = own_list(run_folder)
    (tmp_path / "trials.txt").write_text("\n".join(trials[::-1]) + "\n")
    (tmp_path / "enrollments.txt").write_text("\n".join(enrollments) + "\n")
    given = (
        f"--test_trials={tmp_path / 'trials.txt'}",
        f"--test_enrollments={tmp_path / 'enrollments.txt'}",
    )
    metrics = run_detector(google_corpus, run_folder, cache_folder, "--test_only", *given)
    before = read_metrics(run_folder)["detection"]["rows"]
    names = ("condition", "shots", "negatives", "trials")
    for row, old in zip(metrics["detection"]["rows"], before, strict=True):
        assert [row[name] for name in names] == [old[name] for name in names]
        if row["enrollment"] == "own":  # strangers are chosen by the order of the list
            assert row["eer"] == pytest.approx(old["eer"])


BAD_LISTS = {  # what spoils trials and enrollments, and what it is told
    "unknown utterance": (
        lambda trials, enrolled: [*trials, f"0 {enrolled[0].split()[0]} x up"],
        lambda enrolled: enrolled,
        r"1 utterances that are not in the manifest \(x\)",
    ),
    "unknown enrollment": (
        lambda trials, enrolled: trials,
        lambda enrolled: enrolled[1:],
        "unknown enrollments",
    ),
    "one class": (
        lambda trials, enrolled: [line for line in trials if line.startswith("1")],
        lambda enrolled: enrolled,
        "trials of one class; expected true and false claims",
    ),
    "fewer than K": (
        lambda trials, enrolled: trials,
        lambda enrolled: [" ".join(line.split()[:3]) for line in enrolled],
        "enrollments of fewer than 3 different utterances",
    ),
    "query enrolls": (
        lambda trials, enrolled: [*trials, f"1 {' '.join(enrolled[0].split()[:2])} up"],
        lambda enrolled: enrolled,
        "trials whose query is an utterance of the enrollment",
    ),
    "wrong label": (
        lambda trials, enrolled: ["0" + trials[0][1:], *trials[1:]],
        lambda enrolled: enrolled,
        "1 trials whose label is not that of their speakers and words by the rule target_only",
    ),
    "no word": (
        lambda trials, enrolled: [" ".join(line.split()[:3]) for line in trials],
        lambda enrolled: enrolled,
        "claim the words None; expected one of down, left, up",
    ),
    "no trial": (
        lambda trials, enrolled: [],
        lambda enrolled: enrolled,
        "holds no line; expected at least one",
    ),
}


@pytest.mark.parametrize("case", BAD_LISTS)
def test_bad_lists_are_refused_before_any_computing(
    detector_run, google_corpus, cache_folder, tmp_path, case
):
    spoil_trials, spoil_enrollments, message = BAD_LISTS[case]
    trials, enrollments = own_list(detector_run)
    trials, enrollments = spoil_trials(trials, enrollments), spoil_enrollments(enrollments)
    (tmp_path / "trials.txt").write_text("\n".join(trials) + "\n")
    (tmp_path / "enrollments.txt").write_text("\n".join(enrollments) + "\n")
    options = (
        f"--test_trials={tmp_path / 'trials.txt'}",
        f"--test_enrollments={tmp_path / 'enrollments.txt'}",
    )
    compute = "vofp_plugin.dataio.utterances.cached_features"
    with (
        patch(compute, side_effect=AssertionError("computed")),
        pytest.raises(ValueError, match=message),
    ):
        run_detector(google_corpus, tmp_path / "new", cache_folder, *options)
    assert not (tmp_path / "new" / "hyperparams.yaml").exists()


def test_a_test_without_a_decision_says_what_to_do(run_folder, google_corpus, cache_folder):
    (run_folder / "decision.json").unlink()
    with pytest.raises(FileNotFoundError, match="Found no .*decision.json.* train again"):
        run_detector(google_corpus, run_folder, cache_folder, "--test_only")
