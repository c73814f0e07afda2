"""Markdown tables of comparison rows."""

ENROLLMENTS = ("shared", "none", "own", "own_sampled", "stranger")
SUBSETS = {"all": "all speakers", "hardest": "hardest fifth of the speakers"}

# metric: (heading, scale, format)
SCORES = {
    "accuracy": ("Accuracy (%)", 100, "{:.1f}"),
    "nll": ("NLL (nats)", 1, "{:.3f}"),
    "ece": ("ECE (%)", 100, "{:.1f}"),
}
PAIRED = {
    "own - stranger": ("Own - stranger", 100, "{:+.1f}"),
    "own - none": ("Own - none", 100, "{:+.1f}"),
    "own - shared": ("Own - shared", 100, "{:+.1f}"),
    "own - own at K = 1": ("Own - own at K = 1", 100, "{:+.1f}"),
    "error_reduction vs shared": ("Error reduction vs shared (%)", 100, "{:+.1f}"),
    "error_reduction vs shared_large": ("Error reduction vs shared_large (%)", 100, "{:+.1f}"),
    "harm": ("Harm (%)", 100, "{:.1f}"),
    "harm_nll": ("Harm in NLL (%)", 100, "{:.1f}"),
}
LEGEND = (
    "Means over unseen speakers; in brackets the 95 % bootstrap interval over speakers, in "
    "parentheses p of the exact sign-flip test where there are fewer than 20 speakers."
)
PAIRED_LEGEND = (
    "Paired by speaker; differences in points of accuracy. Harm: share of speakers more than one "
    "point of accuracy (0.01 nats) worse than shared; its noise is the row shared_again, the same "
    "recipe with another seed."
)


def comparison_table(rows):
    """Markdown of comparison rows: scores and paired figures per condition and subset.

    Arguments
    ---------
    rows : list of dict
        Rows of ``compare``; columns without any value are left out.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is no row.

    Example
    -------
    >>> row = {"system": "shared", "enrollment": "shared", "shots": 0, "condition": "quiet",
    ...     "subset": "all", "metric": "accuracy", "value": 0.9, "ci_low": 0.88, "ci_high": 0.92,
    ...     "p_value": None, "num_speakers": 25, "num_queries": 200}
    >>> print(comparison_table([row]).splitlines()[4])
    | shared | shared | 0 | 90.0 [88.0, 92.0] | 25 | 200 |
    """
    if not rows:
        raise ValueError("got no row, expected the rows of at least one system")
    parts = []
    sections = {(row["condition"], row["subset"]) for row in rows}
    for condition, subset in sorted(sections, key=_section_order):
        section = [row for row in rows if (row["condition"], row["subset"]) == (condition, subset)]
        tables = [_table(section, SCORES), _table(section, PAIRED)]
        parts += [f"**Condition: {condition}, {SUBSETS[subset]}**", *filter(None, tables)]
    parts.append(LEGEND)
    if any(row["metric"] in PAIRED for row in rows):
        parts.append(PAIRED_LEGEND)
    return "\n\n".join(parts) + "\n"


def _table(rows, columns):
    metrics = [metric for metric in columns if any(row["metric"] == metric for row in rows)]
    lines = {}
    for row in rows:
        if row["metric"] in metrics:
            key = (row["system"], row["enrollment"], row["shots"])
            lines.setdefault(key, {})[row["metric"]] = row
    if not lines:
        return None
    headings = ["System", "Enrollment", "K", *(columns[metric][0] for metric in metrics)]
    table = [[*headings, "Speakers", "Queries"]]
    table.append(["---", "---", *["---:"] * (len(table[0]) - 2)])
    for key in sorted(lines, key=_line_order):
        cells = [_figure(lines[key].get(metric), *columns[metric][1:]) for metric in metrics]
        some_row = next(iter(lines[key].values()))
        table.append([*map(str, key), *cells, some_row["num_speakers"], some_row["num_queries"]])
    return "\n".join("| " + " | ".join(map(str, line)) + " |" for line in table)


def _figure(row, scale, pattern):
    if row is None:
        return ""
    text = pattern.format(scale * row["value"])
    if row["ci_low"] is not None:
        low, high = (pattern.format(scale * row[key]) for key in ("ci_low", "ci_high"))
        return f"{text} [{low}, {high}]"
    return text if row["p_value"] is None else f"{text} (p = {row['p_value']:.2g})"


def _section_order(section):
    condition, subset = section
    return condition != "quiet", condition, list(SUBSETS).index(subset)


def _line_order(line):
    system, enrollment, shots = line
    return not system.startswith("shared"), system, ENROLLMENTS.index(enrollment), shots
