"""The demo's two trainings: both must succeed, and none outlives the other's failure."""

import importlib.util
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "recipes/Synthetic-commands/personalized_kws/demo.py"


@pytest.fixture(scope="module")
def demo():
    spec = importlib.util.spec_from_file_location("demo", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def start(code):
    return subprocess.Popen([sys.executable, "-c", code])


def test_all_are_waited_for(demo):
    processes = [start("import time; time.sleep(0.7)"), start("")]
    assert demo.first_failure(processes) is None
    assert [process.returncode for process in processes] == [0, 0]


@pytest.mark.parametrize("place", [0, 1])
def test_a_failure_ends_the_other(demo, place):
    processes = [start("import time; time.sleep(60)")]
    processes.insert(place, start("import sys; sys.exit(3)"))
    assert demo.first_failure(processes) is processes[place]
    assert processes[place].returncode == 3
    assert processes[1 - place].returncode == -signal.SIGTERM


def test_an_interrupt_ends_all(demo, monkeypatch):
    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo.time, "sleep", interrupt)
    processes = [start("import time; time.sleep(60)") for _ in range(2)]
    with pytest.raises(KeyboardInterrupt):
        demo.first_failure(processes)
    assert all(process.returncode == -signal.SIGTERM for process in processes)
