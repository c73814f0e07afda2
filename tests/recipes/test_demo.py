"""The demo: trainings one after the other, and none after a failure."""

import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "recipes/Synthetic-commands/personalized_kws/demo.py"


@pytest.fixture
def demo(tmp_path):
    """The demo in a folder with a train.py of its own, given as source."""
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.RECIPE = tmp_path
    return module


def test_trains_the_shared_model_first_and_compares(demo, tmp_path, monkeypatch):
    (tmp_path / "train.py").write_text("import sys; print(sys.argv[1], file=open('log', 'a'))")
    commands = []
    monkeypatch.setattr(demo, "vofp", lambda command: commands.append(command) or 0)
    assert demo.main() == 0
    trained = [f"hparams/{system}.yaml" for system in ("shared", "vofp")]
    assert (tmp_path / "log").read_text().split() == trained
    assert [Path(run).parent.name for run in commands[0][1:3]] == ["shared", "vofp"]


def test_stops_after_a_failure(demo, tmp_path, capsys):
    (tmp_path / "train.py").write_text("import sys; open('log', 'a').write('x'); sys.exit(3)")
    assert demo.main() == 1
    assert (tmp_path / "log").read_text() == "x" and "failed" in capsys.readouterr().err


def test_ends_its_training_when_it_is_ended(tmp_path):
    (tmp_path / "train.py").write_text(
        "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"
    )
    code = f"import runpy; m = runpy.run_path({str(SCRIPT)!r}); main = m['main']; "
    code += f"main.__globals__['RECIPE'] = {str(tmp_path)!r}; main()"
    process = subprocess.Popen([sys.executable, "-c", code])
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text():
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 1
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
