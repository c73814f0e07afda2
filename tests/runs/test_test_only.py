"""`--test_only --test_annotation=FILE.csv` evaluates a trained model on any manifest."""

import shutil

import pytest
from tiny_runs import GOOGLE, folder_contents, google_arguments, run_google

from vofp_plugin.evaluation.reports import read_metrics
from vofp_plugin.runs.runner import run


@pytest.fixture
def run_folder(finished_run, tmp_path):
    return shutil.copytree(finished_run, tmp_path / "run")


def scores(metrics):
    return metrics["per_speaker"], metrics["calibration"], metrics["results"]


def test_test_set_again_gives_the_same_numbers(run_folder, google_corpus, cache_folder):
    before = folder_contents(run_folder)
    metrics = run_google("vofp.yaml", google_corpus, run_folder, cache_folder, "--test_only")
    assert scores(metrics) == scores(read_metrics(run_folder))
    place = f"{GOOGLE.parent.name}/{GOOGLE.name}"
    assert (metrics["recipe"], metrics["system"], metrics["fold"]) == (place, "vofp", 0)
    again = read_metrics(run_folder / "test")
    assert scores(again) == scores(read_metrics(run_folder))
    assert again["training"] == read_metrics(run_folder)["training"]
    after = folder_contents(run_folder)
    new = {name.partition("/")[0] for name in after if name not in before}
    assert new == {"test"} and after.items() >= before.items()


def test_another_manifest_at_another_place(
    monkeypatch, run_folder, google_corpus, cache_folder, tmp_path
):
    """Not prepared, below another data root, of other speakers and of fewer classes."""
    data_folder = shutil.copytree(google_corpus, tmp_path / "moved")
    shutil.rmtree(data_folder / "up")
    rows = (run_folder / "manifests" / "train.csv").read_text().splitlines()
    annotation = tmp_path / "two_words.csv"
    annotation.write_text("\n".join(row for row in rows if ",up," not in row) + "\n")
    shutil.rmtree(run_folder / "manifests")

    def refuse(**options):
        raise AssertionError("prepared")

    options = ("--test_only", f"--test_annotation={annotation}", "--test_shots=[2]")
    arguments = google_arguments("vofp.yaml", data_folder, run_folder, cache_folder, *options)
    before = (run_folder / "metrics.json").read_bytes()
    run(refuse, arguments)
    metrics = read_metrics(run_folder / "two_words")
    assert metrics["data"] == {"test": {"speakers": 10, "utterances": 60}}
    assert {row["shots"] for row in metrics["results"]} == {0, 2}
    assert {row["num_speakers"] for row in metrics["results"]} == {10}
    assert (run_folder / "two_words" / "report.md").is_file()
    assert (run_folder / "metrics.json").read_bytes() == before
    assert not (run_folder / "manifests").exists()


def test_manifest_of_the_same_name_does_not_replace_results(
    run_folder, google_corpus, cache_folder, tmp_path
):
    rows = (run_folder / "manifests" / "test.csv").read_text()
    (tmp_path / "other").mkdir()
    annotation = tmp_path / "other" / "words.csv"
    (tmp_path / "words.csv").write_text(rows)
    annotation.write_text(rows.rstrip("\n").rpartition("\n")[0] + "\n")  # one row less
    arguments = ("vofp.yaml", google_corpus, run_folder, cache_folder, "--test_only")
    for _ in range(2):
        run_google(*arguments, f"--test_annotation={tmp_path / 'words.csv'}")
    before = folder_contents(run_folder)
    with pytest.raises(ValueError, match="holds the results of another manifest, .* another name"):
        run_google(*arguments, f"--test_annotation={annotation}")
    assert before.items() - folder_contents(run_folder).items() <= {
        ("words/log.txt", before["words/log.txt"])  # the log of this process goes on there
    }


@pytest.mark.parametrize("name", ["save", "manifests", "pretrained"])
def test_manifest_named_as_a_folder_of_the_run_is_refused(
    run_folder, google_corpus, cache_folder, tmp_path, name
):
    annotation = shutil.copy(run_folder / "manifests" / "test.csv", tmp_path / f"{name}.csv")
    options = ("--test_only", f"--test_annotation={annotation}")
    before = folder_contents(run_folder)
    with pytest.raises(ValueError, match=f"the results would go to .*{name}, .* another name"):
        run_google("vofp.yaml", google_corpus, run_folder, cache_folder, *options)
    assert folder_contents(run_folder) == before


def test_speakers_that_are_known_are_told(run_folder, google_corpus, cache_folder, caplog):
    annotation = f"--test_annotation={run_folder / 'manifests' / 'train.csv'}"
    options = ("--test_only", annotation, "--test_shots=[2]")
    run_google("vofp.yaml", google_corpus, run_folder, cache_folder, *options)
    assert "10 of the 10 speakers to be asked were seen in training" in caplog.text


@pytest.fixture
def run_elsewhere(google_corpus, cache_folder, tmp_path):
    """Arguments of a finished run whose manifests are in a folder of their own."""
    place = f'--prepare={{"save_folder": "{tmp_path}/elsewhere"}}'
    arguments = ("vofp.yaml", google_corpus, tmp_path / "run", cache_folder, place)
    run_google(*arguments)
    return arguments


def test_speakers_are_known_wherever_the_manifests_are(run_elsewhere, tmp_path, caplog):
    annotation = tmp_path / "elsewhere" / "train.csv"
    run_google(*run_elsewhere, "--test_only", f"--test_annotation={annotation}")
    assert "10 of the 10 speakers to be asked were seen in training" in caplog.text


def test_nobody_is_called_unseen_without_the_manifests_of_the_training(
    run_folder, google_corpus, cache_folder, tmp_path, caplog
):
    annotation = shutil.move(run_folder / "manifests" / "train.csv", tmp_path / "known.csv")
    options = ("--test_only", f"--test_annotation={annotation}", "--test_shots=[2]")
    run_google("vofp.yaml", google_corpus, run_folder, cache_folder, *options)
    assert "cannot tell whether the speakers to be asked were seen in training" in caplog.text


def test_last_checkpoint_is_tested(run_folder, google_corpus, cache_folder):
    """However low the validation NLL of an earlier one may be."""
    last = max(run_folder.glob("save/CKPT*"))
    earlier = shutil.copytree(last, last.with_name("CKPT+earlier"))
    (earlier / "model.ckpt").write_bytes(b"never loaded")
    lines = (earlier / "CKPT.yaml").read_text().splitlines()
    lines = [line for line in lines if not line.startswith(("valid_nll", "unixtime"))]
    (earlier / "CKPT.yaml").write_text("\n".join([*lines, "valid_nll: 0.0", "unixtime: 1.0"]))
    metrics = run_google("vofp.yaml", google_corpus, run_folder, cache_folder, "--test_only")
    assert scores(metrics) == scores(read_metrics(run_folder))


@pytest.mark.parametrize(
    ("yaml", "option", "message"),
    [
        (
            "vofp.yaml",
            "--mode=!new:vofp_plugin.nnet.modes.Replace",
            "other settings: .*mode .*Residual prior_std: 0.3 .now .*Replace",
        ),
        ("vofp_no_contrast.yaml", "--seed=0", "trained by vofp.yaml; expected the same YAML"),
    ],
)
def test_model_of_other_settings_is_refused(
    run_folder, google_corpus, cache_folder, yaml, option, message
):
    with pytest.raises(ValueError, match=message):
        run_google(yaml, google_corpus, run_folder, cache_folder, "--test_only", option)


def test_training_that_has_not_ended_is_refused(run_folder, google_corpus, cache_folder):
    (run_folder / "metrics.json").unlink()
    with pytest.raises(FileNotFoundError, match="metrics.json; --test_only needs .* a finished"):
        run_google("vofp.yaml", google_corpus, run_folder, cache_folder, "--test_only")


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("metrics.json", "{", "metrics.json is no valid JSON"),
        ("classes.txt", "", "Cannot read the class list .*classes.txt"),
        ("classes.txt", "no list", "Cannot read the class list .*classes.txt"),
    ],
)
def test_damaged_files_of_the_training_are_named(
    run_folder, google_corpus, cache_folder, file, text, message
):
    (run_folder / file).write_text(text)
    with pytest.raises(ValueError, match=message):
        run_google("vofp.yaml", google_corpus, run_folder, cache_folder, "--test_only")


def test_manifest_that_points_beyond_the_audio_is_refused(
    run_folder, google_corpus, cache_folder, tmp_path
):
    first, *rows = (run_folder / "manifests" / "test.csv").read_text().splitlines()
    stop = first.split(",").index("stop")
    longer = [row.split(",")[:stop] + ["999999"] + row.split(",")[stop + 1 :] for row in rows]
    annotation = tmp_path / "longer.csv"
    annotation.write_text("\n".join([first, *map(",".join, longer)]) + "\n")
    options = ("--test_only", f"--test_annotation={annotation}")
    with pytest.raises(ValueError, match="samples; expected 999999 as the manifest says"):
        run_google("vofp.yaml", google_corpus, run_folder, cache_folder, *options)
