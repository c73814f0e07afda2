"""Two processes train together: each draws its own episodes, both end with the same weights."""

import subprocess
import sys

import pytest
import torch
from tiny_runs import GOOGLE, google_arguments, train_google

from vofp_plugin.evaluation.reports import read_metrics

TRAIN_AND_KEEP = f"""
import os, sys, torch
sys.path.insert(0, "{GOOGLE}")
from google_speech_commands_prepare import prepare_google_speech_commands
from vofp_plugin.runs.brain import PersonalizedBrain
from vofp_plugin.runs.runner import main

fit = PersonalizedBrain.fit_speakers

def fit_and_keep(self, *arguments):
    fit(self, *arguments)
    kept = {{"weights": self.modules.state_dict(), "epochs": self.history.epochs}}
    torch.save(kept, os.environ["KEPT"] + os.environ["RANK"])

PersonalizedBrain.fit_speakers = fit_and_keep
main(prepare_google_speech_commands)
"""


def gloo_is_usable():
    distributed = torch.distributed
    return distributed.is_available() and distributed.is_gloo_available()


@pytest.mark.skipif(not gloo_is_usable(), reason="needs a torch with gloo")
def test_two_processes(tmp_path, google_corpus, cache_folder):
    script = tmp_path / "train_and_keep.py"
    script.write_text(TRAIN_AND_KEEP)
    arguments = ("vofp.yaml", google_corpus, tmp_path / "run", cache_folder)
    _, options = train_google(*arguments, KEPT=str(tmp_path / "rank"))
    launch = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(script)]
    command = [sys.executable, *launch, *google_arguments(*arguments)]
    command += ["--num_epochs=1", "--distributed_backend=gloo", "--device=cpu"]
    process = subprocess.run(command, capture_output=True, text=True, timeout=600, **options)
    assert process.returncode == 0, process.stderr
    one, other = (torch.load(tmp_path / f"rank{rank}") for rank in (0, 1))
    assert one["weights"].keys() == other["weights"].keys()
    for name, weight in one["weights"].items():
        assert torch.equal(weight, other["weights"][name]), name
    losses = [kept["epochs"][0]["train_loss"] for kept in (one, other)]
    assert losses[0] != losses[1], "both processes drew the same episodes"
    assert process.stdout.count("metrics.json") == 1
    metrics = read_metrics(tmp_path / "run")
    assert metrics["training"]["steps"] == 3
    assert [epoch["train_loss"] for epoch in metrics["training"]["epochs"]] == losses[:1]
