"""Importing the networks is quiet and light."""

import json
import subprocess
import sys

import pytest

MEASURE = """
import contextlib, importlib, io, json, pkgutil, sys
import speechbrain
before = set(sys.modules)
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
    for room in ("nnet", "lobes"):
        package = importlib.import_module(f"vofp_plugin.{room}")
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{package.__name__}.{module.name}")
new = {name.partition(".")[0] for name in set(sys.modules) - before}
new -= set(sys.stdlib_module_names)
print(json.dumps({"new": sorted(new), "printed": out.getvalue()}))
"""


@pytest.fixture(scope="module")
def measured():
    """What the import of the networks adds to that of SpeechBrain."""
    done = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_import_prints_nothing(measured):
    assert measured["printed"] == ""


def test_import_loads_no_other_library(measured):
    """No plots, tables or speech synthesis before somebody asks for them."""
    assert set(measured["new"]) <= {
        "vofp_plugin",
        "speechbrain",
        "soundfile",
        "cffi",
        "_cffi_backend",
    }
