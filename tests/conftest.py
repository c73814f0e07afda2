"""Fixtures of all tests."""

from pathlib import Path

import pytest
import torch
from tiny_corpus import write_arabic, write_google, write_synthetic

torch.set_num_threads(1)  # more threads make toy sizes slower


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
def synthetic_corpus(tmp_path_factory):
    """Folder of tiny synthetic commands; tests leave it as it is."""
    pytest.importorskip("espeakng_loader", reason="needs the extra 'synthetic'")
    return write_synthetic(tmp_path_factory.mktemp("corpus") / "synthetic")


@pytest.fixture(scope="session")
def cache_folder(tmp_path_factory):
    """Feature cache of all tiny runs."""
    return tmp_path_factory.mktemp("cache")
