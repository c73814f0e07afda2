"""The benchmarks of speed run, and their page shows the record; no figure is asserted."""

import importlib
import json

import pytest


@pytest.fixture
def benchmark(repo_root, monkeypatch):
    monkeypatch.syspath_prepend(repo_root / "benchmarks")
    return importlib.import_module


def test_every_candidate_is_compared_with_the_first(benchmark):
    calls = []
    candidates = {name: lambda name=name: calls.append(name) for name in ("shared", "again")}
    ratios = benchmark("interleaved").interleaved(candidates, seconds=0, min_rounds=4)
    assert ratios["shared"].median == 1 and ratios["again"].median > 0
    assert ratios["again"].rounds == 4
    assert sorted(calls) == ["again"] * 8 + ["shared"] * 8, "one run that is not timed before each"


def test_crowd_enrolling_and_training_are_measured(benchmark):
    crowd, enrolling = benchmark("crowd"), benchmark("enrolling")
    for form in ("full", "channel", "low_rank"):
        rows = crowd.inference("DSCNN", "all layers", (2,), form, foils=True, seconds=0)
        assert {"shared", "N = 2", "vmap, N = 2", "loop of merged, N = 2"} <= set(rows)
    assert "N = 2" in crowd.training("DSCNN", "all layers", 2, "low_rank", seconds=0)
    assert "enrolling K = 1" in enrolling.enrolling(1, seconds=0)
    numbers, weights = enrolling.bytes_per_speaker()["low_rank"]
    assert numbers < weights


def test_page_shows_the_record(benchmark, repo_root):
    page, record = benchmark("page"), repo_root / "benchmarks" / "results.json"
    assert page.tables(json.loads(record.read_text())) in (repo_root / "docs/speed.md").read_text()
