"""A run that was stopped at any moment goes on to the numbers of one that never was."""

import shutil
import signal
import subprocess
import sys

import pytest
import torch
from tiny_runs import GOOGLE, RECIPES, folder_contents, google_arguments, run_google, train_google

from vofp_plugin.evaluation.reports import read_metrics
from vofp_plugin.runs import brain
from vofp_plugin.runs.brain import PersonalizedBrain

LAST_STEP = 5  # optimizer steps after which a run is stopped: the second of three in epoch 2
KILLED_RUN = f"""
import os, signal, sys
sys.path.insert(0, "{GOOGLE}")
from google_speech_commands_prepare import prepare_google_speech_commands
from vofp_plugin.runs.brain import PersonalizedBrain
from vofp_plugin.runs.runner import main

def on_fit_batch_end(self, *arguments):
    if self.optimizer_step == {LAST_STEP}:
        os.kill(os.getpid(), signal.SIGKILL)

PersonalizedBrain.on_fit_batch_end = on_fit_batch_end
main(prepare_google_speech_commands)
"""
DROPOUT_YAML = f"""
base: {GOOGLE}/hparams/vofp.yaml
main: !include:{RECIPES.parent}/hparams/main_models/bc_resnet.yaml
targets: {{classifier: full}}
"""


def stop(monkeypatch, step=LAST_STEP):
    """Makes runs in this process stop as by Ctrl-C after an optimizer step."""

    def on_fit_batch_end(brain, *arguments):
        if brain.optimizer_step == step:
            raise KeyboardInterrupt

    monkeypatch.setattr(PersonalizedBrain, "on_fit_batch_end", on_fit_batch_end)


def assert_same_run(folder, other_folder):
    metrics, other_metrics = read_metrics(folder), read_metrics(other_folder)
    for key in ("per_speaker", "calibration", "results", "validation", "data", "model"):
        assert metrics[key] == other_metrics[key], key
    assert metrics["training"]["steps"] == other_metrics["training"]["steps"] == 6
    assert epochs(metrics) == epochs(other_metrics)
    weights, other_weights = checkpoints(folder), checkpoints(other_folder)
    assert len(weights) == len(other_weights) >= 1
    for one, other in zip(weights, other_weights, strict=True):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


def epochs(metrics):
    return [{**epoch, "seconds": None, "waiting": None} for epoch in metrics["training"]["epochs"]]


def checkpoints(folder):
    """Weights of all checkpoints, oldest first."""
    return [torch.load(path) for path in sorted(folder.glob("save/CKPT*/model.ckpt"))]


def test_run_killed_in_its_second_epoch(finished_run, tmp_path, google_corpus, cache_folder):
    arguments = ("vofp.yaml", google_corpus, tmp_path, cache_folder)
    _, options = train_google(*arguments)
    command = [sys.executable, "-c", KILLED_RUN, *google_arguments(*arguments)]
    process = subprocess.run(command, capture_output=True, text=True, **options)
    assert process.returncode == -signal.SIGKILL, process.stderr
    assert len(checkpoints(tmp_path)) == 1 and not (tmp_path / "metrics.json").exists()
    run_google(*arguments)
    assert_same_run(tmp_path, finished_run)


@pytest.mark.parametrize(
    "options, step",
    [
        ((), 2),  # before the first checkpoint
        ((), LAST_STEP),
        (("--ckpt_interval_steps=1",), LAST_STEP),  # with checkpoints within an epoch
        (("--ckpt_interval_steps=1",), 6),  # of which the last has no step left to do
    ],
)
def test_interrupted_run(
    finished_run, monkeypatch, tmp_path, google_corpus, cache_folder, options, step
):
    arguments = ("vofp.yaml", google_corpus, tmp_path, cache_folder, *options)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop(patch, step)
        run_google(*arguments)
    run_google(*arguments)
    assert_same_run(tmp_path, finished_run)


def test_run_stopped_between_accumulated_batches(
    monkeypatch, tmp_path, google_corpus, cache_folder
):
    options = ("--grad_accumulation_factor=2", "--episodes_per_epoch=6", "--ckpt_interval_steps=1")

    def arguments(name):
        return "vofp.yaml", google_corpus, tmp_path / name, cache_folder, *options

    run_google(*arguments("whole"))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop(patch, 6)  # in the step's second batch, after which nothing was saved
        run_google(*arguments("resumed"))
    run_google(*arguments("resumed"))
    assert_same_run(tmp_path / "resumed", tmp_path / "whole")


def test_run_stopped_while_it_validates(
    finished_run, monkeypatch, tmp_path, google_corpus, cache_folder
):
    arguments = ("vofp.yaml", google_corpus, tmp_path, cache_folder, "--ckpt_interval_steps=1")

    def interrupt(brain, batch, stage):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(PersonalizedBrain, "evaluate_batch", interrupt)
        run_google(*arguments)
    run_google(*arguments)
    assert_same_run(tmp_path, finished_run)


def test_run_stopped_while_it_saves(
    finished_run, monkeypatch, tmp_path, google_corpus, cache_folder
):
    arguments = ("vofp.yaml", google_corpus, tmp_path, cache_folder)
    whole_file = brain.whole_file

    def stop_at_second_checkpoint(path):
        if list(tmp_path.glob("save/CKPT*")):
            raise KeyboardInterrupt
        return whole_file(path)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(brain, "whole_file", stop_at_second_checkpoint)
        run_google(*arguments)
    assert len(list(tmp_path.glob("save/*/model.ckpt"))) == 2, "the second must be half-written"
    run_google(*arguments)
    assert_same_run(tmp_path, finished_run)
    assert not list(tmp_path.glob("save/partial*"))


def test_dropout_resumes_exactly_too(monkeypatch, tmp_path, google_corpus, cache_folder):
    yaml = tmp_path / "dropout.yaml"
    yaml.write_text(DROPOUT_YAML)
    small = ("--num_speakers=2", "--max_shots=1", "--num_queries=2", "--test_shots=[1]")
    folder, other_folder = tmp_path / "stopped", tmp_path / "uninterrupted"
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        stop(patch)
        run_google(yaml, google_corpus, folder, cache_folder, *small)
    run_google(yaml, google_corpus, folder, cache_folder, *small)
    run_google(yaml, google_corpus, other_folder, cache_folder, *small)
    assert_same_run(folder, other_folder)


def test_finished_run_does_not_train_again(
    finished_run, monkeypatch, tmp_path, google_corpus, cache_folder
):
    folder = shutil.copytree(finished_run, tmp_path / "again")
    before = folder_contents(folder / "save")

    def refuse(*arguments):
        raise AssertionError("trained again")

    monkeypatch.setattr(PersonalizedBrain, "fit_batch", refuse)
    run_google("vofp.yaml", google_corpus, folder, cache_folder)
    metrics, other_metrics = read_metrics(folder), read_metrics(finished_run)
    assert metrics.pop("overrides") != other_metrics.pop("overrides")  # their output folders
    assert metrics == other_metrics
    assert folder_contents(folder / "save") == before
