"""The project's pages against the project: code runs, paths exist, tables and versions agree."""

import configparser
import re
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import soundfile
import torch
from voices import utter

from vofp_plugin.cli.main import main
from vofp_plugin.dataio.manifests import read_manifest

ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "recipes"
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *RECIPES.glob("*/*/README.md")]
MOST_ROWS = 300  # of recorded results: those that a page shows
TRAINED_RUN = "results/vofp/fold0_seed0/pretrained"
pages = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def code_blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE)


def test_the_python_of_the_readme_runs(monkeypatch, tmp_path, capsys):
    monkeypatch.chdir(tmp_path)
    blocks = code_blocks(ROOT / "README.md", "python")
    snippet = "\n".join(block for block in blocks if TRAINED_RUN not in block)
    recording = tmp_path / "new_speakers" / "up" / "anna_nohash_0.wav"
    recording.parent.mkdir(parents=True)
    soundfile.write(recording, utter().numpy(), 16000)
    names = {}
    exec(compile(snippet, "README.md", "exec"), names)
    assert names["log_probs"].shape == (8, 10)
    torch.testing.assert_close(names["plain"](names["queries"]), names["log_probs"])
    (printed,) = re.findall(r"print\(.*\)  # (.*)", snippet)
    assert capsys.readouterr().out.strip() == printed
    (row,) = read_manifest("new_speakers.csv", "new_speakers").values()
    assert (row["spk_id"], row["command"], row["wav"]) == (
        *("anna", "up"),
        "new_speakers/up/anna_nohash_0.wav",
    )


def test_the_python_of_the_readme_for_a_trained_run_runs(monkeypatch, tmp_path, finished_run):
    monkeypatch.chdir(tmp_path)
    (block,) = [x for x in code_blocks(ROOT / "README.md", "python") if TRAINED_RUN in x]
    shutil.copytree(finished_run / "pretrained", tmp_path / TRAINED_RUN)
    for number, name in enumerate(re.findall(r"[\w.]+\.wav", block)):
        soundfile.write(name, utter(take=number).numpy(), 16000)
    names = {}
    exec(compile(block, "README.md", "exec"), names)
    assert names["profile"].num_used == 2 and len(names["text"]) == 1


def test_the_commands_of_the_readme_answer(monkeypatch, tmp_path, capsys):
    """Those of the first screen, with their very arguments."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "vofp_plugin").symlink_to(ROOT / "vofp_plugin")
    (tmp_path / "demo").mkdir()  # where `vofp demo` writes a stream
    (tmp_path / "demo" / "stream.flac").symlink_to(ROOT / "vofp_plugin/samples/bert_left.flac")
    (block,) = [x for x in code_blocks(ROOT / "README.md", "sh") if "vofp models" in x]
    lines = [shlex.split(line, comments=True) for line in block.splitlines()]
    commands = [words[1:] for words in lines if words[0] == "vofp" and words[-1] != "--help"]
    for command in commands:
        files = [sorted(map(str, Path().glob(word))) if "*" in word else [word] for word in command]
        assert main([word for words in files for word in words]) == 0
    answers = capsys.readouterr().out
    assert "3 of 3 recordings used" in answers and '"word": "left"' in answers
    assert "bert_left.flac  left" in answers and "anna_left.flac  unknown" in answers


def test_the_shell_of_the_readme_names_files_that_exist():
    named = []
    for block in code_blocks(ROOT / "README.md", "sh"):
        folder = ROOT
        for words in map(str.split, block.splitlines()):
            if words[0] == "cd":
                folder = ROOT / words[1]
            files = [word for word in words if re.fullmatch(r"[\w./]+\.(py|yaml|txt)", word)]
            named += [folder / file for file in files]
    assert named
    assert [path for path in named if not path.is_file()] == []


@pages
def test_links_lead_somewhere(page):
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pages
def test_named_paths_exist(page):
    """Paths are those of the clone or of the package."""
    named = re.findall(r"`([\w-][\w.-]*/[\w./-]*)`", page.read_text())
    places = (ROOT, ROOT / "vofp_plugin")
    assert [path for path in named if not any((place / path).exists() for place in places)] == []


@pages
def test_named_yamls_exist(page):
    folder = page.parent if RECIPES in page.parents else RECIPES
    there = {path.name for place in (folder, ROOT / "hparams") for path in place.rglob("*.yaml")}
    assert set(re.findall(r"`(\w+\.yaml)`", page.read_text())) <= there


def test_make_targets_exist():
    makefile = (ROOT / "Makefile").read_text()
    for page in PAGES:
        for target in re.findall(r"(?:^|`)make ([\w-]+)", page.read_text(), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: {target}"


def test_the_installed_command_explains_itself(capsys):
    (command,) = entry_points(group="console_scripts", name="vofp")
    with pytest.raises(SystemExit) as exit_info:
        command.load()(["--help"])
    assert exit_info.value.code == 0
    assert "compare" in capsys.readouterr().out


def test_tables_are_those_of_the_recorded_results():
    command = [sys.executable, "recipes/tables.py", "--check"]
    check = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert check.returncode == 0, f"{check.stdout}{check.stderr}Repair it with `make tables`."
    assert len((RECIPES / "results.csv").read_text().splitlines()) <= 1 + MOST_ROWS


def test_one_version_everywhere():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    version = setup["metadata"]["version"]
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^## \[([\d.]+)\]", (ROOT / "CHANGELOG.md").read_text(), re.M)[1] == version
