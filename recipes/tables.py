"""Rewrite the tables of the READMEs and RESULTS.md of recipes from results.csv, or check them.

> python recipes/tables.py [--check]

A table stands between two marks; KEY=VALUE keeps only such rows (VALUE,VALUE: any of these):

    <!-- table: LABEL KEY=VALUE ... -->
    <!-- end table -->

All metrics fill three tables for each condition and subset; named ones, metric=VALUE,VALUE, are the
columns of one, in this order. The rows of a compact table:

    <!-- table: google condition=quiet enrollment=shared,own shots=0,5 metric=accuracy,harm,nll -->
"""

import argparse
import re
import sys
from pathlib import Path

from vofp_plugin.evaluation.tables import COLUMNS, legend, read_rows, section_tables
from vofp_plugin.utils.files import whole_file

ROOT = Path(__file__).resolve().parent.parent
START = re.compile(r"<!-- table: (.*?) *-->")
REGION = re.compile(START.pattern + r"\n(.*?)<!-- end table -->", re.DOTALL)


def read_mark(mark):
    """Label and {key: list of values} of a mark such as "google condition=quiet"."""
    label, *texts = mark.split()
    filters = {}
    for key, _, values in (text.partition("=") for text in texts):
        if key not in COLUMNS:
            raise ValueError(f"got the key {key!r} in mark {mark!r}, expected one of {COLUMNS}")
        filters[key] = values.split(",")
    return label, filters


def make_tables(rows, mark):
    """Markdown of the rows that a mark names, and the metrics that it shows."""
    label, filters = read_mark(mark)
    chosen = [
        row
        for row in rows
        if row["label"] == label and all(str(row[key]) in filters[key] for key in filters)
    ]
    if not chosen:
        raise ValueError(f"got no recorded row for the mark {mark!r}; see recipes/results.csv")
    metrics = filters.get("metric")
    return section_tables(chosen, metrics), {row["metric"] for row in chosen}


def rewrite(text, rows):
    """README text with every table made anew; the last one says what is in all of them."""
    if len(START.findall(text)) != len(REGION.findall(text)):
        raise ValueError("got a table mark without <!-- end table -->, expected one after each")

    places = [match.start() for match in REGION.finditer(text)]
    shown = set()

    def tables(match):
        made, metrics = make_tables(rows, match[1])
        shown.update(metrics)
        if match.start() == places[-1]:
            made += f"\n{legend(shown)}"
        return f"<!-- table: {match[1]} -->\n{made}<!-- end table -->"

    return REGION.sub(tables, text)


def main(argv=None, root=ROOT):
    """Rewrite or check all pages under the root; return the exit status."""
    parser = argparse.ArgumentParser(description="Make the tables of the READMEs from results.csv")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a table differs")
    check = parser.parse_args(argv).check
    try:
        rows = read_rows(root / "recipes" / "results.csv")
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    status = 0
    for path in [root / "README.md", *sorted((root / "recipes").glob("*/*/*.md"))]:
        text = path.read_text(encoding="utf-8")
        try:
            new_text = rewrite(text, rows)
        except ValueError as error:
            sys.exit(f"{path.relative_to(root)}: {error}")
        if new_text == text:
            continue
        print(f"{path.relative_to(root)}: table {'differs' if check else 'rewritten'}")
        if check:
            status = 1
            continue
        with whole_file(path) as partial:
            partial.write_text(new_text, encoding="utf-8")
    return status


if __name__ == "__main__":
    sys.exit(main())
