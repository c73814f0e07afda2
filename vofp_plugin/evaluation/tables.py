"""Comparison rows as markdown, and as a CSV of labelled rows that keeps its diffs small."""

from collections import defaultdict
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from vofp_plugin.evaluation.scores import (
    COUNTS,
    ESTIMATE,
    ROW_KEYS,
    SCORES,
    SUBSETS,
    place_of,
    records,
)
from vofp_plugin.utils.files import whole_file

COLUMNS = ("label", *ROW_KEYS)  # of the CSV
ORDER = ["label", "condition", "subset", "system", "enrollment", "shots", "metric"]
# Kinds of columns, in order; "stranger" to "own" are what a system is paired with in itself.
KINDS = ("score", "ece", "stranger", "none", "k1", "own", "reference", "reduction", "harm")
HEADLINE = ("score", "stranger", "reference", "reduction")
LEGEND = {
    "": "Means over unseen speakers; in brackets the 95 % interval over speakers (bootstrap; of "
    "harm Wilson's), in parentheses p of the exact sign-flip test below 20 speakers. Both take the "
    "trainings as they are: what another seed would change is not in them. Answers: a query counts "
    "once in every enrollment draw.",
    "vs_": "vs: this row minus that one, paired by speaker, in points, or in nats, where less is "
    "better. Stranger, none, own and K = 1 (own enrollment) are of the system itself; another "
    "system is the reference, the mean of its seeds. Its last seed chose the hardest fifth, and is "
    "left out there.",
    "error_reduction": "Error reduction: the share of the reference's errors that are gone.",
    "harm": "Harm: share of speakers more than 0.01 (a point; nats) worse than the reference, one "
    "seed against one. Its noise (A/A) is the row of the reference again, a second seed.",
}


class Column(NamedTuple):
    """How a metric is shown: the score and the kind of it, and figures of ``scale`` times it."""

    score: str
    kind: str
    heading: str
    scale: float
    format: str

    @property
    def table(self):
        """Of the tables in a section, the first of all scores, the next of each score's pairs."""
        return 0 if self.kind in ("score", "ece") else 1 + list(SCORES).index(self.score)


def column_of(metric):
    """Column of a metric.

    Example
    -------
    >>> column_of("nll_vs_shared").heading, column_of("harm").heading
    ('NLL vs shared', 'Harm (%)')
    """
    words, vs, name = metric.partition("vs_")
    score = next((score for score in SCORES if score in words.split("_")), "accuracy")
    heading, scale, pattern, _ = SCORES[score]
    short = heading.partition(" (")[0]
    if metric in SCORES:
        return Column(score, "score", heading, scale, pattern)
    if metric == "ece":
        return Column(score, "ece", "ECE (%)", 100, ".1f")
    if words.startswith("harm"):
        short = "" if score == "accuracy" else f" in {short}"
        return Column(score, "harm", f"Harm{short} (%)", 100, ".1f")
    if words.startswith("error_reduction"):
        return Column(score, "reduction", f"Error reduction vs {name} (%)", 100, "+.1f")
    if not vs:
        raise ValueError(f"got the metric {metric!r}, expected one of those of `vofp compare`")
    kind = name if name in KINDS else "reference"
    heading = f"vs {'K = 1' if name == 'k1' else name}"
    heading = heading if score == "accuracy" else f"{short} {heading}"
    return Column(score, kind, heading, scale, f"+{pattern}")


def comparison_table(rows):
    """Markdown of comparison rows, all metrics of them, and what these are.

    Arguments
    ---------
    rows : list of dict
        Rows of ``compare``.

    Returns
    -------
    str
    """
    return f"{section_tables(rows)}\n{legend(row['metric'] for row in rows)}"


def headline_table(rows):
    """Markdown of the figures that matter most: shared systems and own at the largest K."""
    cells = ("shared", 0), ("own", max(row["shots"] for row in rows))
    chosen = [row for row in rows if (row["enrollment"], row["shots"]) in cells] or rows
    columns = {metric: column_of(metric) for metric in _metrics(chosen)}
    main = next(iter(columns.values())).score
    shown = [m for m, x in columns.items() if x.score == main and x.kind in HEADLINE]
    return f"{section_tables(chosen, shown)}\n{legend(shown)}"


def section_tables(rows, metrics=None):
    """Markdown of comparison rows, with a section per condition and subset.

    Arguments
    ---------
    rows : list of dict
        Rows of ``compare``.
    metrics : list of str
        Columns of the one table of each section, in this order. If None, a section has a table of
        all scores, and one for each score of all that is paired in it.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is no row, or none of one of the metrics.

    Example
    -------
    >>> row = {"system": "shared", "enrollment": "shared", "shots": 0, "condition": "quiet",
    ...     "subset": "all", "metric": "accuracy", "value": 0.9, "ci_low": 0.88, "ci_high": 0.92,
    ...     "p_value": None, "num_speakers": 25, "num_queries": 200, "num_runs": 5}
    >>> print(section_tables([row]))
    **Condition: quiet, all speakers** (25 speakers, 200 answers, 5 runs of each system)
    <BLANKLINE>
    | System | Enrollment | Accuracy (%) |
    | --- | --- | ---: |
    | shared | shared | 90.0 [88.0, 92.0] |
    <BLANKLINE>
    """
    if not rows:
        raise ValueError("got no row, expected the rows of at least one system")
    known = _metrics(rows)
    unknown = sorted(set(metrics or ()) - set(known))
    if unknown:
        raise ValueError(f"got the metrics {unknown}, expected some of the recorded ones, {known}")
    tables = (
        [metrics]
        if metrics
        else [
            list(group) for _, group in groupby(known, key=lambda metric: column_of(metric).table)
        ]
    )
    sections = groupby(
        sorted(rows, key=place_of), key=lambda row: (row["condition"], row["subset"])
    )
    parts = []
    for (condition, subset), section in sections:
        section = list(section)
        made = list(filter(None, (_table(section, table) for table in tables)))
        if made:
            counts = _counts(section)
            parts += [f"**Condition: {condition}, {SUBSETS[subset]}** ({counts})", *made]
    return "\n\n".join(parts) + "\n"


def legend(metrics):
    """Markdown that says what the columns of metrics are."""
    names = {metric.removeprefix(f"{column_of(metric).score}_") for metric in metrics}
    texts = [text for start, text in LEGEND.items() if any(x.startswith(start) for x in names)]
    return "\n\n".join(texts) + "\n"


def record_rows(path, label, rows):
    """Write comparison rows under a label into a CSV, in place of earlier rows of that label.

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
    check_label(label)
    kept = read_rows(path) if Path(path).exists() else []
    kept = [row for row in kept if row["label"] != label]
    table = pd.DataFrame([*kept, *({"label": label, **row} for row in rows)], columns=COLUMNS)
    table = table.astype(dict.fromkeys(ESTIMATE, float)).sort_values(ORDER)
    with whole_file(path) as partial:
        table.to_csv(partial, index=False, float_format="%.6f", lineterminator="\n")


def check_label(label):
    """Refuse a label of recorded rows that is empty or has spaces."""
    if not label or label != "".join(label.split()):
        raise ValueError(f"got the label {label!r}, expected a word without spaces")


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
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False)
        if tuple(table) != COLUMNS:
            raise ValueError(f"got the columns {list(table)}, expected {list(COLUMNS)}")
        table[list(ESTIMATE)] = table[list(ESTIMATE)].replace("", "nan").astype(float)
        table = table.astype(dict.fromkeys(("shots", *COUNTS), int))
    except ValueError as error:
        raise ValueError(
            f"{path}: {error}; expected recorded rows, restore the file or record it anew"
        ) from error
    return records(table)


def _metrics(rows):
    """Metrics of the rows in the order of their columns."""

    def place(metric):
        column = column_of(metric)
        return column.table, KINDS.index(column.kind), list(SCORES).index(column.score), metric

    return sorted({row["metric"] for row in rows}, key=place)


def _counts(section):
    """How many speakers, answers and runs are behind the rows of a section."""
    counts = [[row[name] for row in section] for name in COUNTS]
    ends = [(min(numbers), max(numbers)) for numbers in counts]
    texts = [f"{low:,}" if low == high else f"{low:,} to {high:,}" for low, high in ends]
    return "{} speakers, {} answers, {} runs of each system".format(*texts)


def _table(section, metrics):
    """Markdown of one table, or None where there is no row for it."""
    lines = defaultdict(dict)  # of figures by metric
    for row in section:
        if row["metric"] in metrics:
            name = row["system"], _enrollment(row["enrollment"], row["shots"])
            lines[name][row["metric"]] = _figure(row)
    if not lines:
        return None
    shown = [metric for metric in metrics if any(metric in line for line in lines.values())]
    head = ["System", "Enrollment", *(column_of(metric).heading for metric in shown)]
    rule = ["---", "---", *["---:"] * len(shown)]
    body = [[*name, *(line.get(metric, "") for metric in shown)] for name, line in lines.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in (head, rule, *body))


def _enrollment(enrollment, shots):
    return f"{enrollment}, K = {shots}" if shots else enrollment


def _figure(row):
    column = column_of(row["metric"])

    def shown(key):
        return format(column.scale * row[key], column.format)

    if pd.notna(row["ci_low"]):
        return f"{shown('value')} [{shown('ci_low')}, {shown('ci_high')}]"
    p_value = f" (p = {row['p_value']:.2g})" if pd.notna(row["p_value"]) else ""
    return f"{shown('value')}{p_value}"
