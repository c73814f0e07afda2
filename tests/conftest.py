"""Fixtures of all tests."""

from pathlib import Path

import pytest
import torch

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
