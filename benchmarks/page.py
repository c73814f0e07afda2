"""Page: the tables and the plot of docs/speed.md, of what was recorded.

> python benchmarks/page.py
"""

import json
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot as plt  # noqa: E402

from vofp_plugin.utils.files import whole_file  # noqa: E402

DOCS = Path(__file__).resolve().parent.parent / "docs"
START, END = "<!-- speed -->\n", "<!-- end speed -->"
RESULTS = Path(__file__).parent / "results.json"


def tables(record):
    """Markdown of all that was recorded: a table for each number of threads."""
    blocks = []
    for threads, run in record.items():
        lines = [
            f"### {threads[0].upper()}{threads[1:]}\n",
            f"{run['machine']}; medians, and quartiles over rounds in turns.\n",
            "| Part | Candidate | Ratio | Quartiles | ms |",
            "| --- | --- | ---: | --- | ---: |",
        ]
        for part, rows in run["parts"].items():
            lines += [f"| {part} | {name} | {_cells(row)} |" for name, row in rows.items()]
        blocks.append("\n".join(lines) + "\n")
    return "\n".join(blocks)


def _cells(row):
    if isinstance(row, dict):
        quartiles = f"{row['low']:.2f} to {row['high']:.2f}"
        return f"{row['median']:.2f} | {quartiles} | {row['ms']:.2f}"
    if isinstance(row, list | tuple):
        return f"{', '.join(map(str, row))} | | "
    return f"{row:.2f} | | " if isinstance(row, float) else f"{row} | | "


def write_page(record, docs=DOCS):
    """Writes the tables into docs/speed.md and the plot beside it; returns the tables."""
    page, text = docs / "speed.md", tables(record)
    before, _, rest = page.read_text().partition(START)
    with whole_file(page) as partial:
        partial.write_text(before + START + text + END + rest.partition(END)[2])
    _plot(record, docs / "speed.svg")
    return text


def _plot(record, path):
    """Ratios of the crowds to the shared model, one line for each model and kind of layers."""
    run = next(iter(record.values()))
    figure, axes = plt.subplots(figsize=(7, 4))
    for part, rows in run["parts"].items():
        points = [(int(n[4:]), r["median"]) for n, r in rows.items() if n.startswith("N = ")]
        if part.startswith("crowd: ") and points:
            axes.plot(*zip(*points, strict=True), marker="o", label=part.removeprefix("crowd: "))
    axes.axhline(1.0, color="black", linewidth=0.5)
    axes.set_xscale("log", base=2)
    axes.set_xlabel("speakers in the batch")
    axes.set_ylabel("time relative to the shared model")
    axes.legend(fontsize=6)
    with whole_file(path) as partial:
        figure.savefig(partial, format="svg", metadata={"Date": None})
    plt.close(figure)


if __name__ == "__main__":
    write_page(json.loads(RESULTS.read_text()))
