"""Tables of the READMEs, made from recorded rows."""

import importlib.util
from pathlib import Path

import pytest
from made_up_runs import made_up_runs

from vofp_plugin.evaluation.scores import compare
from vofp_plugin.evaluation.tables import comparison_table, record_rows

SCRIPT = Path(__file__).parents[2] / "recipes" / "tables.py"
README = "# Title\n\n<!-- table: {} -->\nold\n<!-- end table -->\n\nAfter.\n"


@pytest.fixture(scope="module")
def tables():
    spec = importlib.util.spec_from_file_location("recipe_tables", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def clone(tmp_path):
    record_rows(tmp_path / "recipes" / "results.csv", "kws", compare(made_up_runs(), "shared"))
    (tmp_path / "recipes" / "Made-up" / "kws").mkdir(parents=True)
    (tmp_path / "recipes" / "Made-up" / "kws" / "README.md").write_text(README.format("kws"))
    (tmp_path / "README.md").write_text("No table here.\n")
    return tmp_path


def test_check_fails_until_tables_are_rewritten(tables, clone, capsys):
    path = clone / "recipes" / "Made-up" / "kws" / "README.md"
    assert tables.main(["--check"], clone) == 1
    assert "Made-up/kws/README.md: differs" in capsys.readouterr().out
    assert path.read_text() == README.format("kws")
    assert tables.main([], clone) == 0
    assert tables.main(["--check"], clone) == 0
    text = path.read_text()
    assert text.startswith("# Title\n\n<!-- table: kws -->\n")
    assert text.endswith("<!-- end table -->\n\nAfter.\n")
    assert comparison_table(compare(made_up_runs(), "shared")) in text


def test_a_mark_may_choose_rows(tables, clone):
    mark = "kws condition=quiet subset=all system=shared,vofp metric=accuracy"
    (clone / "README.md").write_text(README.format(mark))
    assert tables.main([], clone) == 0
    text = (clone / "README.md").read_text()
    assert "| vofp | own, K = 5 | 89.8 |" in text
    assert "shared_large" not in text
    assert "Condition: noise" not in text and "hardest fifth of the speakers**" not in text


def test_a_mark_may_choose_the_columns_of_one_table(tables, clone):
    mark = "kws condition=quiet subset=all enrollment=shared,own shots=0,5 metric=harm,accuracy"
    (clone / "README.md").write_text(README.format(mark))
    assert tables.main([], clone) == 0
    lines = (clone / "README.md").read_text().splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert table[0] == "| System | Enrollment | Harm (%) | Accuracy (%) |"
    assert table[2:] == [
        "| shared | shared |  | 77.0 |",
        "| shared_again | shared | 40.0 | 74.0 |",
        "| shared_large | shared | 20.0 | 80.0 |",
        "| vofp | own, K = 5 | 0.0 | 89.8 |",
    ]


def test_rows_that_no_page_shows_go(tables, clone):
    recorded = clone / "recipes" / "results.csv"
    chosen = "kws condition=quiet subset=all system=vofp metric=accuracy"
    page = clone / "docs" / "results.md"
    page.parent.mkdir()
    (clone / "recipes" / "Made-up" / "kws" / "README.md").unlink()
    page.write_text(README.format(chosen))
    before = recorded.read_text().splitlines()
    assert tables.main(["--check"], clone) == 1
    assert recorded.read_text().splitlines() == before
    assert tables.main([], clone) == 0
    assert tables.main(["--check"], clone) == 0
    assert recorded.read_text().splitlines() == [
        line
        for line in before
        if line == before[0] or (line.startswith("kws,vofp,") and ",quiet,all,accuracy," in line)
    ]


def test_missing_results_are_refused(tables, clone):
    (clone / "recipes" / "results.csv").unlink()
    with pytest.raises(SystemExit, match="results.csv not found; record rows with"):
        tables.main([], clone)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (README.format("other"), "no recorded row for the mark 'other'"),
        (README.format("kws room=quiet"), "the key 'room'"),
        (README.format("kws metric=accuracy,speed"), r"the metrics \['speed'\]"),
        ("<!-- table: kws -->\n", "without <!-- end table -->"),
        ("<!-- table: kws -->\n" + README.format("kws"), "without <!-- end table -->"),
    ],
)
def test_bad_marks_are_refused(tables, clone, text, message):
    (clone / "README.md").write_text(text)
    with pytest.raises(SystemExit, match=f"README.md: .*{message}"):
        tables.main([], clone)
    assert (clone / "README.md").read_text() == text


def test_what_the_columns_are_stands_once_on_a_page(tables, clone):
    marks = ("kws metric=accuracy", "kws metric=harm", "kws metric=nll")
    (clone / "README.md").write_text("".join(map(README.format, marks)))
    assert tables.main([], clone) == 0
    text = (clone / "README.md").read_text()
    assert text.count("Means over unseen speakers") == text.count("Harm: share") == 1
    assert text.index("Harm: share") > text.rindex("| NLL (nats) |")
    assert "Error reduction:" not in text
