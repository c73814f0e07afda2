"""The ``vofp`` command, from run folders to printed tables and recorded rows."""

import csv
import json
import subprocess
import sys

import pytest
from made_up_runs import made_up_run, made_up_runs

from vofp_plugin.cli.main import main
from vofp_plugin.evaluation import reports
from vofp_plugin.evaluation.reports import write_report


def write(folder, metrics):
    (folder / "metrics.json").write_text(json.dumps(metrics))


@pytest.fixture
def folders(tmp_path):
    folders = []
    for index, metrics in enumerate(made_up_runs()):
        folders.append(str(tmp_path / f"run{index}"))
        (tmp_path / f"run{index}").mkdir()
        write(tmp_path / f"run{index}", metrics)
    return folders


def test_compare_prints_and_writes_and_records(tmp_path, folders, capsys):
    out, record = tmp_path / "out", tmp_path / "results.csv"
    options = [f"--output_folder={out}", f"--record={record}", "--label=made-up"]
    options.append("--reference=shared")
    assert main(["compare", *folders, *options]) == 0
    printed = capsys.readouterr().out
    assert "| vofp | own, K = 5 | 89.8 |" in printed
    assert f"{out}/comparison.md" in printed
    assert {path.name for path in out.iterdir()} == {
        *("comparison.md", "comparison.json"),
        *("accuracy.png", "speakers.png", "reliability.png"),
    }
    with open(record, newline="") as file:
        rows = list(csv.DictReader(file))
    (row,) = (
        row
        for row in rows
        if (row["metric"], row["shots"], row["condition"], row["subset"])
        == ("vs_stranger", "5", "quiet", "all")
    )
    assert (row["label"], row["value"], row["p_value"]) == ("made-up", "0.198000", "0.062500")


def test_the_reference_is_the_first_system_unless_another_is_named(
    tmp_path, folders, capsys, monkeypatch
):
    monkeypatch.setattr(reports, "save_figure", lambda figure, path: None)
    command = ["compare", *folders[2:6], f"--output_folder={tmp_path / 'out'}"]
    for option, reference in (([], "shared_large"), (["--reference=shared"], "shared")):
        assert main([*command, *option]) == 0
        written = json.loads((tmp_path / "out" / "comparison.json").read_text())
        assert written["reference"] == reference
    assert main([*command, "--reference=other"]) == 1
    assert "got the reference other, expected one of the systems" in capsys.readouterr().err


def missing_folder(folder):
    (folder / "metrics.json").unlink()
    folder.rmdir()


def missing_file(folder):
    (folder / "metrics.json").unlink()


def cut_file(folder):
    path = folder / "metrics.json"
    path.write_text(path.read_text()[:-20])


def not_a_number(folder):
    write(folder, {"schema_version": float("nan")})


def other_version(folder):
    write(folder, {"schema_version": 1})


def a_list(folder):
    (folder / "metrics.json").write_text("[]")


def missing_key(folder):
    metrics = made_up_run("vofp")
    del metrics["per_speaker"]
    write(folder, metrics)


def missing_score(folder):
    metrics = made_up_run("vofp")
    metrics["per_speaker"][0]["nll"] = None
    write(folder, metrics)


def no_share(folder):
    metrics = made_up_run("vofp")
    metrics["per_speaker"][0]["accuracy"] = 95.0
    write(folder, metrics)


def speaker_twice(folder):
    metrics = made_up_run("vofp")
    metrics["per_speaker"].append(metrics["per_speaker"][0])
    write(folder, metrics)


def no_settings(folder):
    metrics = made_up_run("vofp")
    write(folder, {**metrics, "settings": None})


def no_bins(folder):
    metrics = made_up_run("vofp")
    del metrics["calibration"][0]["bins"]
    write(folder, metrics)


def bad_bins(folder):
    metrics = made_up_run("vofp")
    metrics["calibration"][0]["bins"] = [[None, 0.0, 0.0]]
    write(folder, metrics)


def no_queries(folder):
    metrics = made_up_run("vofp")
    metrics["per_speaker"][0]["num_queries"] = None
    write(folder, metrics)


def no_conditions(folder):
    metrics = made_up_run("vofp")
    write(folder, {**metrics, "conditions": []})


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (bad_bins, "has bins of none, K = 0, quiet that are no rows of three numbers"),
        (no_queries, "num_queries None for speaker anna"),
        (no_conditions, "has conditions []"),
        (no_share, "accuracy 95.0 for speaker anna"),
        (speaker_twice, "has a speaker twice"),
        (no_settings, "has settings None"),
        (no_bins, "lacks ['bins']"),
        (missing_folder, "run0 is no folder; give the output_folder of a run"),
        (missing_file, "metrics.json not found; the run has not ended"),
        (cut_file, "metrics.json is no valid JSON"),
        (not_a_number, "NaN is no JSON number"),
        (other_version, "schema version 1, expected 2"),
        (a_list, "schema version None, expected 2"),
        (missing_key, "lacks ['per_speaker']"),
        (missing_score, "nll None for speaker anna"),
    ],
)
def test_bad_input_is_one_message_and_writes_nothing(tmp_path, folders, capsys, spoil, message):
    spoil(tmp_path / "run0")
    assert main(["compare", *folders, f"--output_folder={tmp_path / 'out'}"]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("vofp compare: ") and message in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_record_needs_a_label(tmp_path, folders, capsys):
    options = [f"--output_folder={tmp_path / 'out'}", f"--record={tmp_path / 'results.csv'}"]
    options.append("--reference=shared")
    assert main(["compare", *folders, *options]) == 1
    assert "--record and --label" in capsys.readouterr().err
    assert main(["compare", *folders, *options, "--label=a b"]) == 1
    assert "without spaces" in capsys.readouterr().err
    assert not (tmp_path / "results.csv").exists() and not (tmp_path / "out").exists()


def test_reports_need_no_display_and_no_pyplot(tmp_path):
    write_report(made_up_run("shared"), tmp_path / "run")
    arguments = ["compare", str(tmp_path / "run"), f"--output_folder={tmp_path / 'out'}"]
    code = (
        "import sys; from vofp_plugin.cli.main import main; "
        "light = not {'matplotlib', 'torch'} & {*sys.modules}; "
        "status = main(sys.argv[1:]); "
        "sys.exit(status or not light or 'matplotlib.pyplot' in sys.modules)"
    )
    result = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True)
    assert result.returncode == 0, result.stderr.decode()
