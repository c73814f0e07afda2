"""Tables of the speaker tasks, made from the scores of runs on the same trials."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
from made_up_runs import made_up_run
from made_up_trials import ENROLLMENTS, ROWS, TRIALS

from vofp_plugin.dataio.manifests import MANIFEST_COLUMNS, write_manifest
from vofp_plugin.evaluation.trial_lists import write_enrollments, write_trials

RECIPES = Path(__file__).parents[2] / "recipes"
README = "# Title\n\n<!-- results: own 1 all kinds -->\nold\n<!-- end results -->\n\nAfter.\n"
RIGHT = [3.0, -2.0, -2.0, 2.0, -3.0, -2.0]  # above the threshold where the trial is true
MADE = sorted(RECIPES.glob("*/*/results.json"))


@pytest.fixture(scope="module")
def speaker_tables():
    spec = importlib.util.spec_from_file_location("speaker_tables", RECIPES / "speaker_tables.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def run_folder(folder, system, scores, trials=TRIALS, fold=0, threshold=0.5, rule="target_only"):
    """A run that gave these scores to the trials."""
    (folder / "manifests").mkdir(parents=True)
    rows = [{**dict.fromkeys(MANIFEST_COLUMNS, "1"), "start": 0, **row} for row in ROWS]
    write_manifest(rows, folder / "manifests" / "test.csv")
    write_trials(trials, folder / "test_trials.txt")
    write_enrollments(ENROLLMENTS, folder / "test_enrollments.txt")
    detection = {"rule": rule, "decision": {"threshold": threshold}}
    metrics = {**made_up_run("shared", fold), "system": system, "detection": detection}
    (folder / "metrics.json").write_text(json.dumps(metrics))
    values = np.array(scores) + threshold
    np.savez(folder / "test_scores.npz", **{"quiet own 1": values, "quiet stranger 1": -values})
    return folder


def test_systems_are_compared_on_pooled_folds(speaker_tables, tmp_path):
    wrong = [-3.0, *RIGHT[1:]]  # one of three true claims is refused
    runs = [
        run_folder(tmp_path / f"{system}{fold}", system, scores, fold=fold, threshold=fold)
        for system, scores in (("vofp", RIGHT), ("cosine", wrong))
        for fold in (0, 1)
    ]
    recorded = speaker_tables.record(runs)
    rows = {
        (row["system"], row["enrollment"]): row
        for row in recorded["rows"]
        if (row["shots"], row["kind"]) == ("1", "all kinds")
    }
    assert rows["vofp", "own"]["value"] == 0 and rows["vofp", "own"]["actual"] == 0
    assert rows["cosine", "own"]["difference"] == rows["cosine", "own"]["value"] > 0
    assert rows["vofp", "stranger"]["value"] == 1
    assert rows["cosine", "own"]["low"] is None, "too few speakers for an interval"
    assert recorded["folds_of_seeds"] == {"vofp": [2], "cosine": [2]}
    page = speaker_tables.rewrite(README, recorded)
    assert "| `cosine` | 2, 0.0 | " in page and "old" not in page and page.endswith("After.\n")
    assert speaker_tables.rewrite(page, recorded) == page


def test_who_hears_voices_alone_is_compared_by_the_same_word_of_others(speaker_tables, tmp_path):
    both = run_folder(tmp_path / "both", "vofp", RIGHT)
    voice = run_folder(tmp_path / "voice", "resemblyzer", RIGHT, rule="same_word")
    recorded = speaker_tables.record([both, voice])
    rows = recorded["rows"]
    kinds = {
        name: {r["kind"] for r in rows if r["system"] == name} for name in ("vofp", "resemblyzer")
    }
    assert kinds["resemblyzer"] == {"other speaker"} < kinds["vofp"]
    assert all(r["difference"] == 0 for r in rows if r["system"] == "resemblyzer")
    mark = "<!-- results: own 1 other speaker: resemblyzer -->"
    page = speaker_tables.rewrite(f"{mark}\nold\n<!-- end results -->\n", recorded)
    assert page.startswith(f"{mark}\n| system") and page.count("\n| `") == 1


def test_other_trials_are_refused(speaker_tables, tmp_path):
    first = run_folder(tmp_path / "first", "vofp", RIGHT)
    second = run_folder(tmp_path / "second", "cosine", RIGHT[:3], TRIALS[:3])
    with pytest.raises(ValueError, match="other trials of cosine than of vofp"):
        speaker_tables.record([first, second])


def test_frames_are_compared_by_target(speaker_tables, tmp_path):
    folders = []
    for system, better in (("vofp", 0.1), ("cosine", 0.0)):
        targets = {f"s{n}": 0.5 + 0.01 * n + better for n in range(30)}
        row = {"condition": "quiet", "enrollment": "own", "shots": 3, "per_target": targets}
        metrics = {**made_up_run("shared"), "system": system, "personal_vad": [row]}
        folders.append(tmp_path / system)
        folders[-1].mkdir()
        (folders[-1] / "metrics.json").write_text(json.dumps(metrics))
    recorded = speaker_tables.record(folders)
    (row,) = (row for row in recorded["rows"] if row["system"] == "cosine")
    assert row["difference"] == pytest.approx(-0.1) == row["difference_low"]
    assert "| `cosine` |" in speaker_tables.table(recorded, "own", "3", "frames")


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.parent.parent.name)
def test_pages_show_the_record(speaker_tables, path):
    page = (path.parent / "README.md").read_text(encoding="utf-8")
    assert "<!-- results: " in page
    assert speaker_tables.rewrite(page, json.loads(path.read_text(encoding="utf-8"))) == page
