"""Rewrite the tables of all pages from results.csv, or check them. Rows that none shows go.

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


def find_rows(rows, mark):
    """The recorded rows that a mark names."""
    label, filters = read_mark(mark)
    found = [
        row
        for row in rows
        if row["label"] == label and all(str(row[key]) in filters[key] for key in filters)
    ]
    if not found:
        raise ValueError(f"got no recorded row for the mark {mark!r}; see recipes/results.csv")
    return found


def rewrite(text, rows):
    """README text with every table made anew; the last one says what is in all of them."""
    if len(START.findall(text)) != len(REGION.findall(text)):
        raise ValueError("got a table mark without <!-- end table -->, expected one after each")

    places = [match.start() for match in REGION.finditer(text)]
    shown = set()

    def tables(match):
        found = find_rows(rows, match[1])
        made = section_tables(found, read_mark(match[1])[1].get("metric"))
        shown.update(row["metric"] for row in found)
        if match.start() == places[-1]:
            made += f"\n{legend(shown)}"
        return f"<!-- table: {match[1]} -->\n{made}<!-- end table -->"

    return REGION.sub(tables, text)


def rewrite_pages(root, rows):
    """{path: text} of all pages under a root, with every table made anew."""
    pages = [*root.glob("docs/*.md"), *root.glob("recipes/*/*/*.md")]
    texts = {}
    for path in [root / "README.md", *sorted(pages)]:
        try:
            texts[path] = rewrite(path.read_text(encoding="utf-8"), rows)
        except ValueError as error:
            raise ValueError(f"{path.relative_to(root)}: {error}") from error
    return texts


def keep_shown(text, rows, pages):
    """CSV text of the rows, a line each after its header, without those that no page shows."""
    marks = [mark for page in pages for mark in START.findall(page)]
    shown = {id(row) for mark in marks for row in find_rows(rows, mark)}
    header, *lines = text.splitlines(keepends=True)
    kept = [line for line, row in zip(lines, rows, strict=True) if id(row) in shown]
    return "".join([header, *kept])


def main(argv=None, root=ROOT):
    """Rewrite or check all pages under the root, and their rows; return the exit status."""
    parser = argparse.ArgumentParser(description="Make the tables of the READMEs from results.csv")
    parser.add_argument("--check", action="store_true", help="exit with 1 if a table differs")
    check = parser.parse_args(argv).check
    recorded = root / "recipes" / "results.csv"
    try:
        rows = read_rows(recorded)
        texts = rewrite_pages(root, rows)
    except (OSError, ValueError) as error:
        sys.exit(str(error))
    texts[recorded] = keep_shown(recorded.read_text(encoding="utf-8"), rows, texts.values())
    texts = {path: text for path, text in texts.items() if text != path.read_text(encoding="utf-8")}
    for path, text in texts.items():
        print(f"{path.relative_to(root)}: {'differs' if check else 'rewritten'}")
        if not check:
            with whole_file(path) as partial:
                partial.write_text(text, encoding="utf-8")
    return int(check and bool(texts))


if __name__ == "__main__":
    sys.exit(main())
