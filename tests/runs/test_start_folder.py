"""Systems start from a trained main model, which must not know the speakers asked."""

import re
import shutil

import pytest
import torch
from tiny_runs import RECIPES, run_google, scores_of

from vofp_plugin.evaluation.checks import made_like
from vofp_plugin.evaluation.reports import read_metrics
from vofp_plugin.runs.brain import PersonalizedBrain
from vofp_plugin.runs.configuration import resolve_yaml, settings


@pytest.fixture(scope="module")
def trained(tmp_path_factory, google_corpus, cache_folder):
    folder = tmp_path_factory.mktemp("runs") / "shared"
    run_google("shared.yaml", google_corpus, folder, cache_folder)
    return folder


@pytest.fixture
def start(google_corpus, cache_folder, tmp_path):
    """Runs vofp_frozen.yaml from the main model of a folder."""

    def run(folder, *options):
        option = f"--start_folder={folder}"
        yaml = "vofp_frozen.yaml"
        return run_google(yaml, google_corpus, tmp_path, cache_folder, option, *options)

    return run


def test_main_model_starts_from_the_last_checkpoint(trained, start, monkeypatch):
    started = {}

    def remember(brain, *args, **kwargs):
        started.update(brain.modules.model.main_model.state_dict())
        raise KeyboardInterrupt

    monkeypatch.setattr(PersonalizedBrain, "fit_speakers", remember)
    with pytest.raises(KeyboardInterrupt):
        start(trained)
    state = torch.load(max(trained.glob("save/CKPT*/model.ckpt")), weights_only=True)
    assert state.keys() == {f"main_model.{name}" for name in started}
    assert all(torch.equal(state[f"main_model.{name}"], x) for name, x in started.items())


def test_missing_main_model_is_told(start, tmp_path):
    with pytest.raises(FileNotFoundError, match="Found no trained main model .* Train it first"):
        start(tmp_path / "nothing")


def test_main_model_of_another_size_or_damaged_is_told(trained, start, tmp_path):
    with pytest.raises(ValueError, match="Cannot start from the main model .* same settings"):
        start(trained, '--main={"channels":24}')
    damaged = shutil.copytree(trained, tmp_path / "damaged")
    for file in damaged.glob("save/CKPT*/model.ckpt"):
        file.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="Cannot read .*model.ckpt .*damaged.* train again"):
        start(damaged)


def test_main_model_that_knows_the_speakers_asked_is_refused(trained, start):
    with pytest.raises(ValueError, match="trained on .* speakers that are to be asked"):
        start(trained, "--fold=1")


def test_main_model_whose_run_has_not_ended_is_refused(trained, start, tmp_path):
    unfinished = shutil.copytree(trained, tmp_path / "unfinished")
    (unfinished / "metrics.json").unlink()
    with pytest.raises(ValueError, match="The run in .*unfinished has not ended; start it again"):
        start(unfinished)


def test_main_model_of_other_classes_is_refused(trained, start, tmp_path):
    other = shutil.copytree(trained, tmp_path / "other")
    text = (other / "classes.txt").read_text()
    first, second = sorted(re.findall(r"^'(\w+)' =>", text, flags=re.MULTILINE))[:2]
    swapped = {first: second, second: first}
    pattern = rf"\b({first}|{second})\b"
    (other / "classes.txt").write_text(re.sub(pattern, lambda m: swapped[m.group()], text))
    with pytest.raises(ValueError, match=f"knows the classes {second}, .*; expected {first}, "):
        start(other)


def test_shared_model_is_adapted_as_it_is(trained, google_corpus, cache_folder, tmp_path):
    """Without an epoch, an adapted model answers as its start does; and so it does once more."""
    arguments = ("nearest_mean.yaml", google_corpus, tmp_path, cache_folder)
    options = ("--num_epochs=0", f"--start_folder={trained}")
    first, again = (run_google(*arguments, *options) for _ in range(2))
    assert first["training"]["steps"] == again["training"]["steps"] == 0
    assert first["per_speaker"] == again["per_speaker"]
    assert scores_of(first, "none", 0) == scores_of(read_metrics(trained), "shared", 0)
    assert (tmp_path / "sweep.json").is_file()


def test_frozen_main_model_answers_as_before_without_enrollment(trained, start):
    metrics = start(trained, "--freeze_main_model=True")
    assert metrics["training"]["steps"] > 0
    none, own = (scores_of(metrics, *cell) for cell in (("none", 0), ("own", 3)))
    for condition, shared in scores_of(read_metrics(trained), "shared", 0).items():
        assert none[condition].keys() == own[condition].keys() == shared.keys()
        for speaker, scores in shared.items():
            assert none[condition][speaker] == pytest.approx(scores, rel=1e-5)
    assert own != none


@pytest.mark.parametrize(
    "yaml, option",
    [("nearest_mean.yaml", "--num_epochs=0"), ("vofp.yaml", "--freeze_main_model=True")],
)
def test_nothing_to_start_from_is_told(google_corpus, cache_folder, tmp_path, yaml, option):
    with pytest.raises(ValueError, match="Got no start_folder for a main model .* give the"):
        run_google(yaml, google_corpus, tmp_path, cache_folder, option)


def test_replaced_layers_start_from_the_main_model_too(trained, start):
    """A rate of next to nothing leaves them there, with enrollment and without."""
    still = (
        "--mode=!new:vofp_plugin.nnet.modes.Replace",
        "--personalizer_lr=1.0e-12",
        "--posterior_std=1.0e-6",
    )
    metrics = start(trained, "--freeze_main_model=True", *still)
    shared = scores_of(read_metrics(trained), "shared", 0)["quiet"]
    for cell in (("none", 0), ("own", 3)):
        for speaker, scores in scores_of(metrics, *cell)["quiet"].items():
            assert scores == pytest.approx(shared[speaker], rel=0.02)


def test_start_that_was_trained_anew_is_told(trained, start, tmp_path):
    folder = shutil.copytree(trained, tmp_path / "start")
    options = ("--freeze_main_model=True", f"--output_folder={tmp_path / 'run'}")
    metrics = start(folder, *options)
    assert metrics["settings"]["start"] == made_like(read_metrics(folder))
    folder = shutil.move(folder, tmp_path / "moved")
    again = start(folder, *options)
    assert again["per_speaker"] == metrics["per_speaker"]
    path = max(folder.glob("save/CKPT*/model.ckpt"))
    state = torch.load(path, weights_only=True)
    state["main_model.classifier.bias"] += 1
    torch.save(state, path)
    with pytest.raises(ValueError, match="whose start_folder held something else"):
        start(folder, *options)
    shutil.rmtree(folder)  # a finished run needs it no more
    assert start(folder, *options)["per_speaker"] == metrics["per_speaker"]


NEEDED = {  # of a command line, besides the data folder
    "personal_keywords": {"valid_folder": "x"},
    "personalize_pretrained": {"start_checkpoint": "x"},
}


@pytest.mark.parametrize(
    "hparams", sorted(RECIPES.glob("*/*/hparams")), ids=lambda folder: folder.parts[-3]
)
def test_every_start_folder_is_the_output_folder_of_a_yaml_beside_it(hparams):
    given = {"data_folder": "x", **NEEDED.get(hparams.parent.name, {})}
    yamls = [settings(resolve_yaml(path, given)) for path in hparams.iterdir()]
    made = {values["output_folder"] for values in yamls}
    assert {values["start_folder"] for values in yamls} <= {"", *made}  # nothing: null
