"""Markdown tables of comparison rows."""

from vofp_plugin.evaluation.pooling import system_order

ENROLLMENT_ORDER = ("shared", "none", "own", "own_sampled", "stranger")  # others follow
SUBSETS = {"all": "all speakers", "hardest": "hardest fifth of the speakers"}

POINTS = (100, "{:+.1f}")  # scale, format
NATS = (1, "{:+.3f}")
PERCENT = (100, "{:.1f}")
# One table each: {metric: (heading, scale, format)}.
SCORE_COLUMNS = {
    "accuracy": ("Accuracy (%)", *PERCENT),
    "nll": ("NLL (nats)", 1, "{:.3f}"),
    "ece": ("ECE (%)", *PERCENT),
}
ACCURACY_COLUMNS = {
    "vs_stranger": ("vs stranger", *POINTS),
    "vs_none": ("vs none", *POINTS),
    "vs_shared": ("vs shared", *POINTS),
    "vs_k1": ("vs K = 1", *POINTS),
    "vs_own": ("vs own", *POINTS),
    "vs_vofp": ("vs vofp", *POINTS),
    "vs_vofp_frozen": ("vs vofp_frozen", *POINTS),
    "personal_share": ("Personal share (%)", 100, "{:.0f}"),
    "error_reduction_vs_shared": ("Error reduction vs shared (%)", *POINTS),
    "error_reduction_vs_shared_large": ("Error reduction vs shared_large (%)", *POINTS),
    "harm": ("Harm (%)", *PERCENT),
}
NLL_COLUMNS = {
    f"nll_{metric}": (f"NLL {heading}", *NATS)
    for metric, (heading, *_) in ACCURACY_COLUMNS.items()
    if metric.startswith("vs_")
} | {"harm_nll": ("Harm in NLL (%)", *PERCENT)}
METRICS = {**SCORE_COLUMNS, **ACCURACY_COLUMNS, **NLL_COLUMNS}
HEADLINE = (
    "accuracy",
    "vs_stranger",
    "error_reduction_vs_shared",
    "error_reduction_vs_shared_large",
    "harm",
    "nll",
    "ece",
)
LEGEND = {
    "": "Means over unseen speakers; in brackets the 95 % interval over speakers (bootstrap; of "
    "harm Wilson's), in parentheses p of the exact sign-flip test where there are fewer than 20 "
    "speakers. Both take the trainings as they are: what another seed would change is not in them. "
    "`shared` is the mean of its seeds; the last of them chose the hardest fifth, and is left out "
    "there. Answers: a query counts once in every enrollment draw.",
    "vs_": "vs: this row minus that one, paired by speaker, in points of accuracy, or in "
    "nats, where less is better. To stranger, none, own and K = 1 (own enrollment) the system is "
    "compared with itself, to vofp and vofp_frozen with their own enrollment.",
    "personal_share": "Personal share: (own - stranger) / (own - shared), where the interval of "
    "the gain over shared is above zero.",
    "error_reduction": "Error reduction: the share of another system's errors that are gone; "
    "shared has as many multiply-adds in each query, shared_large as many parameters in total.",
    "harm": "Harm: share of speakers more than one point of accuracy (0.01 nats) worse than "
    "shared, one seed against one; its noise (A/A) is the row shared_again, a second seed. "
    "What starts from the very model that it is compared to has less of that noise.",
}


def comparison_table(rows):
    """Markdown of comparison rows, all metrics of them, and what these are.

    Arguments
    ---------
    rows : list of dict
        Rows of ``compare``.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is no row.
    """
    return f"{section_tables(rows)}\n{legend(row['metric'] for row in rows)}"


def section_tables(rows, metrics=None):
    """Markdown of comparison rows, with a section per condition and subset.

    Arguments
    ---------
    rows : list of dict
        Rows of ``compare``; columns without any value are left out.
    metrics : list of str
        Columns of the one table of each section, in this order. If None, a section has three: all
        scores, all that is paired in accuracy, and in NLL.

    Returns
    -------
    str

    Raises
    ------
    ValueError
        If there is no row, or no such metric.

    Example
    -------
    >>> row = {"system": "shared", "enrollment": "shared", "shots": 0, "condition": "quiet",
    ...     "subset": "all", "metric": "accuracy", "value": 0.9, "ci_low": 0.88, "ci_high": 0.92,
    ...     "p_value": None, "num_speakers": 25, "num_queries": 200, "num_runs": 5}
    >>> print(section_tables([row]).splitlines()[4])
    | shared | shared | 0 | 90.0 [88.0, 92.0] | 25 | 200 | 5 |
    """
    if not rows:
        raise ValueError("got no row, expected the rows of at least one system")
    unknown = sorted(set(metrics or ()) - set(METRICS))
    if unknown:
        raise ValueError(f"got the metrics {unknown}, expected some of {list(METRICS)}")
    groups = (SCORE_COLUMNS, ACCURACY_COLUMNS, NLL_COLUMNS) if metrics is None else (metrics,)
    parts = []
    sections = {(row["condition"], row["subset"]) for row in rows}
    for condition, subset in sorted(sections, key=_section_order):
        section = [row for row in rows if (row["condition"], row["subset"]) == (condition, subset)]
        tables = list(filter(None, (_table(section, group) for group in groups)))
        if tables:
            parts += [f"**Condition: {condition}, {SUBSETS[subset]}**", *tables]
    return "\n\n".join(parts) + "\n"


def legend(metrics):
    """Markdown that says what the columns of metrics are."""
    names = {metric.removeprefix("nll_") for metric in metrics}
    texts = [text for start, text in LEGEND.items() if any(x.startswith(start) for x in names)]
    return "\n\n".join(texts) + "\n"


def headline_table(rows):
    """Markdown of the figures that matter most: shared systems and own at the largest K.

    Arguments
    ---------
    rows : list of dict
        Rows of ``compare``.

    Returns
    -------
    str
    """
    largest = max(row["shots"] for row in rows)
    chosen = [
        row
        for row in rows
        if row["enrollment"] == "shared" or (row["enrollment"], row["shots"]) == ("own", largest)
    ]
    shown = {row["metric"] for row in chosen} & set(HEADLINE)
    return f"{section_tables(chosen, HEADLINE)}\n{legend(shown)}"


def _table(rows, metrics):
    metrics = [metric for metric in metrics if any(row["metric"] == metric for row in rows)]
    lines = {}
    for row in rows:
        if row["metric"] in metrics:
            key = (row["system"], row["enrollment"], row["shots"])
            lines.setdefault(key, {})[row["metric"]] = row
    if not lines:
        return None
    headings = ["System", "Enrollment", "K", *(METRICS[metric][0] for metric in metrics)]
    table = [[*headings, "Speakers", "Answers", "Runs"]]
    table.append(["---", "---", *["---:"] * (len(table[0]) - 2)])
    for key in sorted(lines, key=_line_order):
        cells = [_figure(lines[key].get(metric), *METRICS[metric][1:]) for metric in metrics]
        some_row = next(iter(lines[key].values()))
        counts = [some_row[count] for count in ("num_speakers", "num_queries", "num_runs")]
        table.append([*key, *cells, *counts])
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
    place = (*ENROLLMENT_ORDER, enrollment).index(enrollment)
    return system_order(system), place, enrollment, shots
