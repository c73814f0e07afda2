"""Paths as people type them, and runs that go on wherever their data lie."""

import shutil
from pathlib import Path

import pytest
from tiny_runs import folder_contents, run_google

from vofp_plugin.runs.brain import PersonalizedBrain
from vofp_plugin.runs.configuration import load_yaml, parse_overrides
from vofp_plugin.runs.paths import NEEDED_PATHS, PATHS
from vofp_plugin.runs.run_folder import check_annotation, check_content, listing_digest
from vofp_plugin.runs.runner import run

QUICK = (  # what may change in a run that goes on
    "--test_draws=1",
    "--bad_enrollments=[noise]",
    "--conditions={noise: null, other_noise: null, quiet_enrollment: null}",
)


@pytest.fixture
def load(tmp_path):
    """Function that reads a YAML whose paths are null, and options {key: text}."""

    def load(text="", **options):
        yaml = tmp_path / "paths.yaml"
        yaml.write_text("".join(f"{key}: ./x\n" for key in PATHS) + text)
        return load_yaml(yaml, parse_overrides(options), PATHS)

    return load


@pytest.mark.parametrize("key", PATHS)
@pytest.mark.parametrize("text", ["2024", "''", "2024-05-01", "on", "12:30:45", "[a, b]", "~no/x"])
def test_value_that_is_no_path_is_told_by_the_name_of_its_option(load, key, text):
    with pytest.raises(ValueError, match=rf"^Got {key} .*; expected a path: give --{key}=.* \./"):
        load(**{key: text})


@pytest.mark.parametrize("key", PATHS)
def test_null_where_a_path_is_needed(load, key):
    if key not in NEEDED_PATHS:
        assert load(**{key: "null"})[key] is None
        return
    with pytest.raises(ValueError, match=f"^Got {key} None; expected a path"):
        load(**{key: "~"})


@pytest.mark.parametrize("key", [*PATHS, "seed"])
@pytest.mark.parametrize("text", ["", " "])
def test_option_without_a_value_is_named(load, key, text):
    with pytest.raises(
        ValueError, match=f"Got --{key} without a value .*or null where none is meant"
    ):
        load(**{key: text})


@pytest.mark.parametrize("option", ["--data_folder=", "--noise_folder= ", "--start_folder="])
def test_empty_option_of_a_command_line(finished_run, google_corpus, cache_folder, option):
    key = option[2:-1].rstrip("=")
    with pytest.raises(ValueError, match=f"Got --{key} without a value"):
        run_google("vofp.yaml", google_corpus, finished_run, cache_folder, option)


@pytest.mark.parametrize("options", [["--data_folder=/a/b=c"], ["--output_folder", "lr=0.1"]])
def test_equals_sign_that_would_be_lost_is_told(options):
    with pytest.raises(ValueError, match="takes no value with an ="):
        run(None, ["shared.yaml", *options])


@pytest.mark.parametrize("key", PATHS)
def test_home_folder(load, monkeypatch, key):
    monkeypatch.setenv("HOME", "/home/ann")
    assert load(**{key: "~/data"})[key] == "/home/ann/data"
    assert load(**{key: "./2024"})[key] == "./2024"


def test_home_folder_in_a_yaml(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    yaml = tmp_path / "home.yaml"
    yaml.write_text("seed: 3\noutput_folder: !ref ~/runs/<seed>\ncache_folder: ~/cache\n")
    values = load_yaml(yaml, {}, ["output_folder", "cache_folder"])
    assert values["output_folder"] == "/home/ann/runs/3"
    assert values["cache_folder"] == "/home/ann/cache"


@pytest.fixture
def go_on(finished_run, monkeypatch, tmp_path, cache_folder):
    """Function that starts a finished run again, with its data elsewhere, and without training."""
    folder = shutil.copytree(finished_run, tmp_path / "run")

    def refuse(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr(PersonalizedBrain, "fit_batch", refuse)

    def go_on(data_folder, *options):
        return run_google("vofp.yaml", data_folder, folder, cache_folder, *QUICK, *options)

    go_on.folder = folder
    return go_on


def test_run_goes_on_however_its_data_folder_is_spelled(
    go_on, monkeypatch, google_corpus, tmp_path
):
    """Relative, through a link and with a slash at its end; so does a test of it."""
    (tmp_path / "link").symlink_to(google_corpus)
    monkeypatch.chdir(tmp_path)
    for option in ("--skip_prep=False", "--test_only"):
        assert go_on("link/", option)["training"]["steps"] == 6


def test_run_goes_on_where_its_data_were_moved(go_on, google_corpus, tmp_path):
    moved = shutil.copytree(google_corpus, tmp_path / "moved")
    before = folder_contents(go_on.folder / "manifests")
    assert go_on(moved)["training"]["steps"] == 6
    after = folder_contents(go_on.folder / "manifests")
    assert str(moved) in after.pop("prepared.json").decode()
    assert after.items() <= before.items() and not list(go_on.folder.glob("partial-*"))


def test_run_does_not_go_on_with_other_data(go_on, google_corpus, tmp_path):
    other = shutil.copytree(google_corpus, tmp_path / "other")
    min((other / "up").iterdir()).unlink()
    before = folder_contents(go_on.folder)
    with pytest.raises(ValueError, match="holds a run on other data: .*csv .*data_folder") as told:
        go_on(other)
    assert "delete" not in str(told.value)
    assert folder_contents(go_on.folder) == before


def test_run_does_not_go_on_with_other_noise(go_on, google_corpus, tmp_path):
    noises = shutil.copytree(google_corpus / "_background_noise_", tmp_path / "noises")
    shutil.copy(min(noises.iterdir()), noises / "other.wav")
    before = folder_contents(go_on.folder)
    with pytest.raises(ValueError, match="whose noise_folder held something else") as told:
        go_on(google_corpus, f"--noise_folder={noises}")
    assert "delete" not in str(told.value)
    assert folder_contents(go_on.folder) == before


def test_content_is_recorded_until_there_is_a_checkpoint(tmp_path):
    for digest in ("one", "two"):
        check_content(tmp_path, "noise_folder", digest)
    check_content(tmp_path, "start_folder", "three")
    (tmp_path / "save" / "CKPT+1").mkdir(parents=True)
    for source, digest in (("noise_folder", "two"), ("start_folder", "three"), ("new", "four")):
        check_content(tmp_path, source, digest)
    with pytest.raises(ValueError, match="whose noise_folder held something else"):
        check_content(tmp_path, "noise_folder", "one")


def test_listing_is_that_of_the_files_alone(tmp_path):
    (tmp_path / "a" / "sub").mkdir(parents=True)
    (tmp_path / "a" / "sub" / "x.wav").write_bytes(b"12")
    before = listing_digest(tmp_path / "a")
    moved = shutil.copytree(tmp_path / "a", tmp_path / "b")
    (moved / ".DS_Store").write_bytes(b"hidden")
    assert listing_digest(f"{moved}/") == before
    (moved / "sub" / "x.wav").write_bytes(b"123")
    assert listing_digest(moved) != before


def test_tested_manifest_may_be_moved_or_changed_but_not_both(tmp_path, monkeypatch):
    folder, one, other = tmp_path / "words", tmp_path / "words.csv", tmp_path / "other.csv"
    one.write_text("1")
    other.write_text("1")
    check_annotation(folder, one)
    check_annotation(folder, other)  # moved
    other.write_text("2")
    monkeypatch.chdir(tmp_path)
    check_annotation(folder, Path("other.csv"))  # changed, and spelled another way
    with pytest.raises(ValueError, match="holds the results of another manifest, .*other.csv"):
        check_annotation(folder, one)
