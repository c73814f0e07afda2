"""The benchmarks run; what they measure is asserted nowhere."""

import importlib.util


def test_speed_prints_a_ratio_for_every_cost(repo_root, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location("speed", repo_root / "benchmarks" / "speed.py")
    speed = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(speed)
    monkeypatch.setattr(speed, "ROUNDS", 1)
    speed.main()
    rows = [line.split("|") for line in capsys.readouterr().out.splitlines()[2:]]
    assert {row[1].strip() for row in rows} >= set(speed.LAYERS)
    assert {row[2].strip() for row in rows} == {"shared", "enrolling 5"}
    assert all(float(row[3]) > 0 for row in rows)
