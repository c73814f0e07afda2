"""Two processes that train together end where one does that has the episodes of both."""

import json
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from speechbrain.utils.distributed import get_rank
from tiny_runs import GOOGLE, RECIPES, google_arguments, load_prepare, train_google

from vofp_plugin.evaluation.reports import read_metrics
from vofp_plugin.runs import runner
from vofp_plugin.runs.brain import PersonalizedBrain

# What it is of two processes, and of one that does as much before each step. Adam would follow the
# sign of gradients that are but rounding.
TRAINED = ("--num_epochs=1", "--opt_class=!name:torch.optim.SGD", "--device=cpu")
TOGETHER = ("--episodes_per_epoch=2", "--distributed_backend=gloo")
ALONE = ("--episodes_per_epoch=4", "--grad_accumulation_factor=2")
RUNS = {  # {name: (recipe, YAML, options)}
    "vofp": (GOOGLE, "vofp.yaml", ()),
    "detector": (
        GOOGLE.with_name("target_speaker_kws"),
        "two_covariance.yaml",
        ("--twins=1", "--test_shots=[1]", '--conditions={"noise": null}'),
    ),
}
SCRIPT = f"""
import json, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
sys.path.insert(0, {str(RECIPES.parent / "tests")!r})
from test_ddp import train
train(**json.loads(sys.argv[1]))
"""


@contextmanager
def kept_after_training(path):
    """Keeps what a training ends with in a file; draws no plots."""
    fit = PersonalizedBrain.fit_speakers

    def fit_and_keep(brain, *arguments):
        fit(brain, *arguments)
        weights = {name: x.detach() for name, x in brain.modules.named_parameters()}
        torch.save({"weights": weights, "epochs": brain.history.epochs}, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PersonalizedBrain, "fit_speakers", fit_and_keep)
        patch.setattr("vofp_plugin.evaluation.reports.save_figure", lambda figure, path: None)
        yield


def train(runs, folder):
    """What each of both processes does: all runs, in one group."""
    with pytest.MonkeyPatch.context() as patch:
        for name, (recipe, arguments) in runs.items():
            module, function = load_prepare(recipe)
            with kept_after_training(Path(folder) / f"{name}_{get_rank()}"):
                runner.run(getattr(module, function), arguments)
            patch.setattr(runner, "ddp_init_group", lambda options: None)  # it stays


def arguments_of(name, corpus, folder, cache, *options):
    recipe, yaml, own = RUNS[name]
    yaml = recipe / "hparams" / yaml
    return google_arguments(yaml, corpus, folder, cache, *own, *TRAINED, *options)


def gloo_is_usable():
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_gloo_available()


@pytest.fixture(scope="module")
def together(tmp_path_factory, google_corpus, cache_folder):
    """Folder of what two processes kept, and what they printed."""
    if not gloo_is_usable():
        pytest.skip("needs a torch with gloo")
    folder = tmp_path_factory.mktemp("together")
    runs = {
        name: (
            str(recipe),
            arguments_of(name, google_corpus, folder / name, cache_folder, *TOGETHER),
        )
        for name, (recipe, *_) in RUNS.items()
    }
    script = folder / "train.py"
    script.write_text(SCRIPT)
    _, options = train_google("vofp.yaml", google_corpus, folder, cache_folder)
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    command = [sys.executable, *launch, json.dumps({"runs": runs, "folder": str(folder)})]
    process = subprocess.run(command, capture_output=True, text=True, timeout=600, **options)
    assert process.returncode == 0, process.stderr
    return folder, process.stdout


@pytest.mark.parametrize("name", RUNS)
def test_two_processes_train_as_one(together, google_corpus, cache_folder, tmp_path, name):
    folder, _ = together
    one, other = (torch.load(folder / f"{name}_{rank}") for rank in (0, 1))
    arguments = arguments_of(name, google_corpus, tmp_path / "run", cache_folder, *ALONE)
    module, function = load_prepare(RUNS[name][0])
    with kept_after_training(tmp_path / "kept"):
        metrics = runner.run(getattr(module, function), arguments)
    alone = torch.load(tmp_path / "kept")
    for weight, of_other, of_one in zip(
        *(kept["weights"].values() for kept in (alone, other, one)), strict=True
    ):
        assert torch.equal(of_one, of_other)
        torch.testing.assert_close(of_one, weight, rtol=1e-5, atol=1e-5)
    losses = [kept["epochs"][0]["train_loss"] for kept in (alone, other, one)]
    assert losses[1] == losses[2] == pytest.approx(losses[0], rel=1e-5)
    assert metrics["training"]["steps"] == 2


def test_one_process_writes(together):
    folder, printed = together
    assert printed.count("metrics.json") == len(RUNS)
    for name in RUNS:
        assert read_metrics(folder / name)["training"]["steps"] == 2
