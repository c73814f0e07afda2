"""The benchmarks run, and the page shows what is recorded; nothing measured is asserted."""

import importlib
import importlib.util
import json
from collections import Counter

import numpy as np
import pytest
import torch
from speechbrain.dataio.encoder import CategoricalEncoder
from spotters import random_spotter

from vofp_plugin.dataio.manifests import utterance_rows, write_manifest
from vofp_plugin.dataio.streams import Span
from vofp_plugin.inference.streaming import Event


def load(repo_root, name):
    spec = importlib.util.spec_from_file_location(name, repo_root / "benchmarks" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def spotter_of_three_words():
    """A random spotter, of words of Google's."""
    spotter = random_spotter()
    spotter.hparams.label_encoder = CategoricalEncoder()
    spotter.hparams.label_encoder.update_from_iterable(["go", "left", "one"])
    return spotter


def test_streams_count_misses_false_alarms_and_latency(repo_root):
    streams = load(repo_root, "streams")
    spans = [Span(1.0, 1.5, "anna", "yes"), Span(3.0, 3.4, "anna", "no"), Span(5, 9, "ben", "")]
    events = [
        Event(0.9, 1.9, "yes", 0.9, None),
        Event(0.9, 1.9, "yes", 0.9, None),  # told twice
        Event(2.8, 3.8, "yes", 0.9, None),  # another word
        Event(4.0, 5.0, "no", 0.9, None),  # too late
    ]
    missed, alarms, latencies = streams.scored(events, spans)
    assert (missed, alarms) == (1, 3) and latencies == pytest.approx([0.4])


def test_streams_write_a_curve_of_real_speech(
    repo_root, shared_data, tmp_path, monkeypatch, capsys
):
    streams = load(repo_root, "streams")
    monkeypatch.setattr(streams, "SHOTS", 2)
    spotter = spotter_of_three_words()
    monkeypatch.setattr(streams.KeywordSpotter, "from_hparams", lambda folder: spotter)
    words = shared_data / streams.PARTS["words"]
    paths = sorted(p for w in spotter.hparams.label_encoder.lab2ind for p in (words / w).glob("*"))
    most, _ = Counter(p.name.split("_")[0] for p in paths).most_common(1)[0]
    asked = [(p, most, p.parent.name) for p in paths if p.name.startswith(most)][:6]
    write_manifest(utterance_rows(asked, words), tmp_path / "test.csv")
    record = tmp_path / "streams.json"
    streams.main(["model"], tmp_path / "test.csv", shared_data, record, speakers=1, hop=1.0)
    curves = json.loads((tmp_path / "streams.json").read_text())
    assert len(curves["model"]["points"]) == len(streams.THRESHOLDS)
    assert curves["model"]["words"] == 4, "and two are enrolled"
    assert (tmp_path / "streams.svg").stat().st_size > 1000
    assert capsys.readouterr().out.count("\n| model") == len(streams.SHOWN)


def test_exports_print_a_row_for_every_file(repo_root, shared_data, tmp_path, monkeypatch, capsys):
    pytest.importorskip("onnxscript", reason="needs the extra 'onnx'")
    exports = load(repo_root, "exports")
    monkeypatch.setattr(exports, "ROUNDS", 1)
    spotter = spotter_of_three_words()
    monkeypatch.setattr(exports.KeywordSpotter, "from_hparams", lambda folder: spotter)
    data = shared_data / "speech_commands_v0.01_subset"
    exports.main("model", data, clips=12, record=tmp_path / "exports.json")
    record = json.loads((tmp_path / "exports.json").read_text())
    assert record["clips"] == 12
    assert [row["kind"] for row in record["rows"]] == list(exports.NAMES)
    assert record["rows"][2]["Difference (nats)"] <= 1e-4
    assert exports.table(record) in capsys.readouterr().out


@pytest.mark.parametrize("name", ["exports", "streams"])
def test_page_shows_what_was_recorded(repo_root, name):
    record = json.loads((repo_root / "benchmarks" / f"{name}.json").read_text())
    assert load(repo_root, name).table(record) in (repo_root / "docs" / "speed.md").read_text()


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


def test_scale_and_a_hop_are_measured(benchmark):
    scale = benchmark("scale")
    assert set(scale.sampling(600, 30, 2)) == {"ms per episode", "MB of the sampler"}
    assert "all, s" in scale.set_up(60, 30)
    (share,) = benchmark("hop").streaming_hop(duration=1.2).values()
    assert share > 0


def test_parts_are_told_by_name(benchmark, tmp_path):
    with pytest.raises(SystemExit, match="Got --part='speed'; expected .* of .*'a million rows'"):
        benchmark("bench").main(1, 0.0, tmp_path / "results.json", "speed")


def test_page_shows_the_record(benchmark, repo_root):
    page, record = benchmark("page"), repo_root / "benchmarks" / "results.json"
    assert page.tables(json.loads(record.read_text())) in (repo_root / "docs/speed.md").read_text()


def test_warping_forgives_pace_and_tells_other_sequences(benchmark):
    take = torch.randn(8, 12)
    slower = take.repeat_interleave(2, dim=1)
    queries = torch.stack([slower, torch.randn(8, 24)])
    same, other = benchmark("keyword_peers").warped_distances(take.numpy(), queries.numpy())
    assert same == pytest.approx(0, abs=1e-6) and other > 0.1


def test_page_of_personal_keywords_shows_the_records(benchmark, repo_root):
    recipe = repo_root / "recipes" / "Arabic-speech-commands" / "personal_keywords"
    page = (recipe / "README.md").read_text(encoding="utf-8")
    for path in recipe.glob("peers*.json"):
        record = json.loads(path.read_text(encoding="utf-8"))
        assert benchmark("keyword_peers").table(record) in page, path.name


def test_alarms_of_a_stream_have_a_pause_and_none_is_where_the_word_is(benchmark):
    streams = benchmark("keyword_streams")
    scores = np.zeros(100)
    scores[[10, 12, 40, 60]] = 5.0
    assert streams.alarms(scores, 1.0) == 3, "the second one follows too soon"
    assert streams.alarms(scores, 1.0, [Span(4.3, 4.7, "ann", "yes")]) == 2
    assert streams.found(scores, [Span(4.3, 4.7, "ann", "yes"), Span(8.0, 8.5, "ann", "no")]) == [
        5,
        0,
    ]
