"""Fixtures of all tests."""

from pathlib import Path

import pytest
import torch
from speechbrain.utils import logger
from speechbrain.utils.importutils import LazyModule
from tiny_corpus import (
    write_arabic,
    write_google,
    write_speechocean,
    write_synthetic,
    write_voxceleb,
)
from tiny_runs import run_google

torch.set_num_threads(1)  # more threads make toy sizes slower
LazyModule.__file__ = (
    None  # or hypothesis, which asks all modules for it, imports what is not there
)


@pytest.fixture(autouse=True)
def fixed_seed():
    """Starts every test from the same random numbers, whichever tests ran before."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def repo_root():
    """Folder of the clone."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data(repo_root):
    """Folder of the real speech beside the clone; tests that need it skip without it."""
    folder = repo_root.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real speech of {folder}")
    return folder


@pytest.fixture(scope="session")
def google_corpus(tmp_path_factory):
    """Folder of a tiny corpus in the layout of Google Speech Commands; tests leave it as it is."""
    return write_google(tmp_path_factory.mktemp("corpus") / "google")


@pytest.fixture(scope="session")
def arabic_corpus(tmp_path_factory):
    """Folder of a tiny corpus in the layout of Arabic Speech Commands; tests leave it as it is."""
    return write_arabic(tmp_path_factory.mktemp("corpus") / "arabic")


@pytest.fixture(scope="session")
def voxceleb_corpus(tmp_path_factory):
    """Folder of a tiny corpus in the layout of VoxCeleb; tests leave it as it is."""
    return write_voxceleb(tmp_path_factory.mktemp("corpus") / "voxceleb")


@pytest.fixture(scope="session")
def speechocean_corpus(tmp_path_factory):
    """Folder of a tiny corpus in the layout of speechocean762; tests leave it as it is."""
    return write_speechocean(tmp_path_factory.mktemp("corpus") / "speechocean")


@pytest.fixture(scope="session")
def synthetic_corpus(tmp_path_factory):
    """Folder of tiny synthetic commands; tests leave it as it is."""
    pytest.importorskip("espeakng_loader", reason="needs the extra 'synthetic'")
    return write_synthetic(tmp_path_factory.mktemp("corpus") / "synthetic")


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory):
    """Feature cache of all tiny runs."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="session", autouse=True)
def no_pip_freeze():
    """Spares every run in this process the second that SpeechBrain spends on env.log."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(logger, "get_environment_description", lambda: "")
        yield


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory, google_corpus, cache_folder):
    """Folder of a finished tiny run of the Google recipe's vofp.yaml; tests leave it as it is."""
    folder = tmp_path_factory.mktemp("runs") / "finished"
    run_google("vofp.yaml", google_corpus, folder, cache_folder)
    return folder
