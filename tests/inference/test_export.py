"""An exported model answers audio as the spotter does with that profile, without the plugin."""

import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
from spotters import AlwaysYes, random_spotter, spotter_of
from voices import utter

from vofp_plugin.inference.export import export


@pytest.fixture(scope="module")
def spotter():
    return random_spotter()


@pytest.fixture(scope="module")
def profile(spotter):
    return spotter.enroll([utter(take=1), utter(take=2)])


@pytest.fixture(scope="module")
def path(spotter, profile, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "anna.pt2"
    export(spotter, profile, path)
    return path


def test_parity(spotter, profile, path):
    exported = torch.export.load(path).module()
    for level in (0.01, 1.0):
        clip = level * utter(140.0, take=3).unsqueeze(0)
        expected = spotter.answer(clip, profiles=profile)
        torch.testing.assert_close(exported(clip), expected, atol=1e-4, rtol=0)


def test_it_runs_where_the_plugin_is_not(path):
    code = (
        "import sys, torch; sys.modules['speechbrain'] = sys.modules['vofp_plugin'] = None; "
        "print(*torch.export.load(sys.argv[1]).module()(torch.ones(1, 16000)).shape)"
    )
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True)
    assert done.stdout == "1 3\n", done.stderr


def test_a_model_that_depends_on_values_is_refused(spotter, tmp_path):
    class ByLevel(AlwaysYes):
        def forward(self, feats, lens=None):
            return super().forward(feats) * (2 if feats.sum() > 0 else 1)

    with patch.object(type(spotter), "merge", lambda self, profile: ByLevel()):
        with pytest.raises(ValueError, match="Cannot export a ByLevel"):
            export(spotter, None, tmp_path / "anna.pt2")
    assert list(tmp_path.iterdir()) == []


def test_a_shared_model_has_no_profile_to_export(tmp_path):
    with pytest.raises(TypeError, match="personalized"):
        export(spotter_of(AlwaysYes()), None, tmp_path / "all.pt2")


@contextmanager
def full_disk(path):
    yield Path("/dev/full")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs the full device of Linux")
def test_a_full_disk_ends_no_process(spotter, tmp_path):
    with patch("vofp_plugin.inference.export.whole_file", full_disk):
        with pytest.raises(OSError, match="No space left"):
            export(spotter, None, tmp_path / "anna.pt2")
