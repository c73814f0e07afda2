"""The CSV of recorded results: labelled comparison rows, sorted so that diffs stay small."""

import csv
from pathlib import Path

from vofp_plugin.evaluation.comparison import ROW_KEYS
from vofp_plugin.utils.files import whole_file

COLUMNS = ("label", *ROW_KEYS)
INTEGERS = ("shots", "num_speakers", "num_queries", "num_runs")
NUMBERS = ("value", "ci_low", "ci_high", "p_value")
ORDER = ("label", "condition", "subset", "system", "enrollment", "shots", "metric")


def record_rows(path, label, rows):
    """Write comparison rows under a label, in place of earlier rows of that label.

    Arguments
    ---------
    path : str or Path
        The CSV; made if missing.
    label : str
        Name of the comparison, without spaces, such as "google-kws".
    rows : list of dict
        Rows of ``compare``.

    Raises
    ------
    ValueError
        If the label is empty or has spaces, or the CSV is not one of recorded rows.
    """
    if not label or label != "".join(label.split()):
        raise ValueError(f"got the label {label!r}, expected a word without spaces")
    kept = read_rows(path) if Path(path).exists() else []
    kept = [row for row in kept if row["label"] != label]
    records = kept + [{"label": label, **row} for row in rows]
    records.sort(key=lambda row: [row[key] for key in ORDER])
    with whole_file(path) as partial, open(partial, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _text(key, row[key]) for key in COLUMNS} for row in records)


def read_rows(path):
    """Read all recorded rows.

    Arguments
    ---------
    path : str or Path
        A CSV of ``record_rows``.

    Returns
    -------
    list of dict
        Comparison rows with a ``label`` each.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it has other columns or a value that is no number.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(f"{path} not found; record rows with `vofp compare --record`")
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file)
        if reader.fieldnames != list(COLUMNS):
            raise ValueError(f"{path} has the columns {reader.fieldnames}, expected {COLUMNS}")
        try:
            return [{key: _value(key, row[key]) for key in COLUMNS} for row in reader]
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"{path} line {reader.line_num}: {error}; expected a recorded row, restore the "
                "file or record it anew"
            ) from error


def _text(key, value):
    if value is None:
        return ""
    return f"{value:.6f}" if key in NUMBERS else value


def _value(key, text):
    if key in INTEGERS:
        return int(text)
    if key in NUMBERS:
        return None if text == "" else float(text)
    return text
