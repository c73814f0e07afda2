"""A personalized model starts from a trained shared one, of the same speakers."""

import shutil

import pytest
import torch
from tiny_runs import run_google

from vofp_plugin.brains.keyword_spotting import KeywordSpottingBrain


@pytest.fixture(scope="module")
def shared(tmp_path_factory, google_corpus, cache_folder):
    folder = tmp_path_factory.mktemp("runs") / "shared"
    run_google("shared.yaml", google_corpus, folder, cache_folder)
    return folder


@pytest.fixture
def start(google_corpus, cache_folder, tmp_path):
    """Runs vofp.yaml from a shared folder."""

    def run(folder, *options):
        option = f"--shared_folder={folder}"
        return run_google("vofp.yaml", google_corpus, tmp_path, cache_folder, option, *options)

    return run


def test_main_model_starts_from_the_last_checkpoint(shared, start, monkeypatch):
    started = {}

    def remember(brain, *args, **kwargs):
        started.update(brain.modules.model.main_model.state_dict())
        raise KeyboardInterrupt

    monkeypatch.setattr(KeywordSpottingBrain, "fit_speakers", remember)
    with pytest.raises(KeyboardInterrupt):
        start(shared)
    trained = torch.load(max(shared.glob("save/CKPT*/model.ckpt")), weights_only=True)
    assert trained.keys() == {f"main_model.{name}" for name in started}
    assert all(torch.equal(trained[f"main_model.{name}"], x) for name, x in started.items())


def test_missing_shared_model_is_told(start, tmp_path):
    with pytest.raises(FileNotFoundError, match="Found no trained shared model .* Train it first"):
        start(tmp_path / "nothing")


def test_shared_model_of_another_size_or_damaged_is_told(shared, start, tmp_path):
    with pytest.raises(ValueError, match="Cannot start from the shared model .* train it again"):
        start(shared, '--main={"channels":24}')
    damaged = shutil.copytree(shared, tmp_path / "damaged")
    for file in damaged.glob("save/CKPT*/model.ckpt"):
        file.write_bytes(b"damaged")
    with pytest.raises(ValueError, match="Cannot start from the shared model"):
        start(damaged)


def test_shared_model_that_knows_the_speakers_asked_is_refused(shared, start):
    with pytest.raises(ValueError, match="trained on .* speakers that are to be asked"):
        start(shared, "--fold=1")
