"""What SpeechBrain users expect of the command line."""

import shutil
from unittest.mock import patch

import pytest
import torch
from speechbrain.augment.augmenter import Augmenter
from tiny_runs import GOOGLE, TINY, folder_contents, run_google

from vofp_plugin.evaluation.reports import read_metrics
from vofp_plugin.runs import brain
from vofp_plugin.runs.configuration import resolve_yaml, settings
from vofp_plugin.utils import seeds


@pytest.fixture
def run_with(tmp_path, google_corpus, cache_folder):
    """Function that runs vofp.yaml with options: {relative path of metrics.json: metrics}."""

    def run_with(*options, yaml="vofp.yaml"):
        run_google(yaml, google_corpus, tmp_path / "run", cache_folder, *options)
        paths = (tmp_path / "run").rglob("metrics.json")
        return {p.relative_to(tmp_path).as_posix(): read_metrics(p.parent) for p in paths}

    return run_with


def test_overrides_and_their_record(run_with):
    options = ("--num_epochs=3", "--lr=0.01", "--device=cpu", "--main={channels: 16}")
    metrics = run_with(*options, "--episodes_per_epoch=1")["run/metrics.json"]
    assert len(metrics["training"]["epochs"]) == metrics["training"]["steps"] == 3
    assert metrics["model"]["main_parameters"] < 8000, "16 channels"
    overrides = metrics["overrides"]
    assert (overrides["num_epochs"], overrides["lr"]) == ("3", "0.01"), "the last wins"
    assert overrides["main"] == "{channels: 16}" and overrides["test_shots"] == "[1,3]"
    assert "device" not in overrides and "num_classes" not in overrides


def test_override_with_a_space_and_of_a_base_yaml(run_with):
    metrics = run_with("--code_size", "8", yaml="vofp_delta.yaml")["run/metrics.json"]
    assert metrics["overrides"]["code_size"] == "8"
    assert (metrics["yaml"], metrics["system"]) == ("vofp_delta.yaml", "vofp_delta")
    assert metrics["training"]["epochs"][0]["train_kl"] == 0, "the base's posterior has a KL"


def test_yaml_with_a_base_replaces_whole_keys_and_options_merge(tmp_path):
    film, overrides = (
        GOOGLE / "hparams" / "film.yaml",
        {"data_folder": "x", "main": {"channels": 16}},
    )
    text = resolve_yaml(film, overrides)
    assert settings(text)["aggregation"] == "mean"
    targets = text[text.index("targets:") : text.index("mode:")]
    assert "norm" in targets and "classifier" not in targets
    assert "channels: 16" in text and "num_blocks: 4" in text
    tilted = resolve_yaml(film, {"data_folder": "x", "virtual_speakers": {"tilt": 3.0}})
    assert "tilt: 3.0" in tilted and "tilt: 9.0" not in tilted
    yaml = tmp_path / "slower.yaml"
    yaml.write_text(f"base: {film}\nweight_decay: 0.02\n")
    again = resolve_yaml(yaml, overrides)
    assert again == text.replace("weight_decay: 0.01", "weight_decay: 0.02")


def test_run_option_in_the_yaml(run_with, tmp_path):
    text = (GOOGLE / "hparams" / "shared.yaml").read_text()
    text = text.replace("../../../..", str(GOOGLE.parents[2]))
    yaml = tmp_path / "limited.yaml"
    yaml.write_text(f"{text}\noptimizer_step_limit: 2\nmax_grad_norm: 1.0\n")
    metrics = run_with(yaml=yaml)["run/metrics.json"]
    assert metrics["training"]["steps"] == 2


@pytest.mark.parametrize("option", ["--precision=bf16", "--grad_accumulation_factor=2"])
def test_training_options(run_with, option):
    metrics = run_with(option, "--num_epochs=1")["run/metrics.json"]
    assert metrics["training"]["steps"] == (1 if "accumulation" in option else 3)
    key, value = option.removeprefix("--").split("=")
    assert metrics["settings"][key] == metrics["overrides"][key] == value, "no other run is alike"
    again = run_with(option, "--num_epochs=1")["run/metrics.json"]
    assert again["per_speaker"] == metrics["per_speaker"]
    with pytest.raises(ValueError, match=f"other settings: {key} {value} .now default"):
        run_with("--num_epochs=1")


def test_evaluation_precision(run_with, finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "run")
    metrics = run_with("--test_only", "--eval_precision=bf16", "--seed=0")
    whole, half = (
        [row["nll"] for row in metrics[f"run/{name}metrics.json"]["per_speaker"]]
        for name in ("", "test/")
    )
    assert half != whole and half == pytest.approx(whole, abs=0.1)


def test_value_that_yaml_would_cut_is_refused(run_with, tmp_path):
    with pytest.raises(ValueError, match="Got 'output_folder: .*a #1'.* put the value in quotes"):
        run_with(f"--output_folder={tmp_path}/a #1")
    assert not list(tmp_path.iterdir())
    for again in (False, True):
        metrics = run_with(f"--output_folder='{tmp_path}/run/a #1'", yaml="shared.yaml")
        assert list(metrics) == ["run/a #1/metrics.json"], f"started again: {again}"
    assert metrics["run/a #1/metrics.json"]["overrides"]["output_folder"].endswith("/a #1'")


def test_list_of_lines_in_a_yaml_of_ones_own(run_with, tmp_path):
    yaml = tmp_path / "mine.yaml"
    shots = "test_shots:\n- 1  # utterance\n- 3\n"
    yaml.write_text(f"base: {GOOGLE / 'hparams' / 'shared.yaml'}\n{shots}")
    with patch("tiny_runs.TINY", [option for option in TINY if "test_shots" not in option]):
        trained = run_with(yaml=yaml)["run/metrics.json"]
        tested = run_with("--test_only", yaml=yaml)["run/test/metrics.json"]
    assert tested["per_speaker"] == trained["per_speaker"]


@pytest.mark.parametrize("option", ["--compile", "--jit", "--jit_module_keys=model"])
def test_compiled_modules_are_refused(run_with, option):
    with pytest.raises(ValueError, match="Got --.*, which .* leave it out"):
        run_with(option)


def test_option_that_cannot_be_followed_is_refused(run_with):
    message = "Got --data_parallel_backend, .* start .* with torchrun"
    with patch.object(torch.cuda, "device_count", return_value=1):
        with pytest.raises(ValueError, match=message):
            run_with("--data_parallel_backend")


def test_option_that_would_do_nothing_is_refused(run_with):
    with pytest.raises(ValueError, match="Got --remove_vector_weight_decay, which .* leave it out"):
        run_with("--remove_vector_weight_decay")


def test_accumulated_batches_are_drawn_apart_and_the_schedule_ends_with_the_training(run_with):
    schedule = torch.optim.lr_scheduler.OneCycleLR
    with patch.object(brain, "seeded", side_effect=brain.seeded) as seeds:
        with patch.object(torch.optim.lr_scheduler, "OneCycleLR", side_effect=schedule) as cycles:
            metrics = run_with("--grad_accumulation_factor=2", "--episodes_per_epoch=4")
    draws = [call.args for call in seeds.call_args_list]
    assert len(draws) == len(set(draws)) == 8
    steps = metrics["run/metrics.json"]["training"]["steps"]
    assert {call.kwargs["total_steps"] for call in cycles.call_args_list} == {steps + 1} == {5}


def test_accumulation_over_more_than_an_epoch_is_refused(run_with):
    with pytest.raises(ValueError, match="factor=9 for 3 episodes_per_epoch, so no step is ever"):
        run_with("--grad_accumulation_factor=9")


def test_augmenter_that_makes_more_utterances_is_refused(run_with):
    with patch.object(Augmenter, "forward", lambda _, feats, lens: (feats.repeat(2, 1, 1), lens)):
        with pytest.raises(ValueError, match="Got 40 utterances of fea_augment for 20; .*leave"):
            run_with(yaml="shared.yaml")


def test_speechbrains_augmenter_changes_features_in_training_alone(run_with, tmp_path):
    with patch.object(Augmenter, "forward", autospec=True, side_effect=Augmenter.forward) as calls:
        masked = run_with(yaml="shared.yaml")["run/metrics.json"]
    assert calls.call_count == masked["training"]["steps"] == 6
    folder = f"--output_folder={tmp_path / 'run' / 'plain'}"
    plain = run_with("--fea_augment=null", folder, yaml="shared.yaml")
    plain = plain["run/plain/metrics.json"]
    losses = [run["training"]["epochs"][0]["train_nll"] for run in (masked, plain)]
    assert losses[0] != losses[1]


def test_debug_leaves_a_finished_run_alone(run_with, finished_run, tmp_path):
    shutil.copytree(finished_run, tmp_path / "run")
    before = folder_contents(tmp_path / "run")
    metrics = run_with("--debug", "--seed=3")
    assert metrics.keys() == {"run/metrics.json", "run/debug/metrics.json"}
    assert metrics["run/debug/metrics.json"]["training"]["steps"] == 4, "2 batches of 2 epochs"
    assert folder_contents(tmp_path / "run").items() >= before.items()


def test_masks_of_an_episode_are_drawn_apart_from_its_virtual_speakers(run_with):
    generators, masked = [], []

    def seeded(*parts):
        generators.append(seeds.seeded(*parts))
        return generators[-1]

    def forward(_, feats, lens):
        masked.append(torch.initial_seed())
        return feats, lens

    with patch.object(brain, "seeded", seeded), patch.object(Augmenter, "forward", forward):
        run_with(yaml="shared.yaml")
    drawn = {generator.initial_seed() for generator in generators}
    assert len(drawn) == len(set(masked)) == 6 and not drawn & set(masked)
