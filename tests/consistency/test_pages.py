"""The tutorial and the FAQ: what they tell to type runs, in a folder of its own."""

import os
import re
import runpy
import shlex
import sys
from pathlib import Path

import pytest

from vofp_plugin.cli.main import main
from vofp_plugin.inference.keyword_spotter import KeywordSpotter
from vofp_plugin.inference.profile_store import ProfileStore

ROOT = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
TRAINS = re.compile(r"python (train|benchmarks/\w+)\.py ")  # which tests of their own run


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A folder like the clone's root, in which a page may leave its files."""
    for path in ("docs", "recipes", "benchmarks", "vofp_plugin"):
        (tmp_path / path).symlink_to(ROOT / path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run_shell(line, folder, monkeypatch):
    """Runs a line of a shell; gives the folder that the next one runs in."""
    words = shlex.split(line, comments=True)
    if words[0] == "cd":
        return Path(os.path.normpath(folder / words[1]))
    if words[0] == "vofp":
        assert main(words[1:]) == 0, line
    elif TRAINS.match(line):
        assert all((folder / word).is_file() for word in words[1:] if word[-3:] in (".py", "aml"))
    else:
        assert words[0] == "python", line
        monkeypatch.setattr(sys, "argv", words[1:])
        runpy.run_path(words[1], run_name="__main__")
    return folder


@pytest.mark.parametrize("page", ["tutorial.md", "faq.md"])
def test_commands_run(page, clone, monkeypatch):
    text = (ROOT / "docs" / page).read_text()
    if "onnx" in text:
        pytest.importorskip("onnxscript", reason="needs the extra 'onnx'")
    folder, names = clone, {}
    for language, block in BLOCK.findall(text):
        if language == "python":
            exec(compile(block, page, "exec"), names)
            continue
        if "speakers.db" in block:
            spotter = KeywordSpotter.from_hparams("pretrained/keywords")
            ProfileStore("speakers.db").include("anna", "anna.json", spotter.mods.model)
        for line in block.splitlines():
            folder = run_shell(line, folder, monkeypatch)
    assert folder == clone and (clone / "anna.json").is_file()
