"""Figures of reports; every function returns a matplotlib Figure, or None without data."""

import logging

import numpy as np
from scipy.stats import norm

from vofp_plugin.evaluation.scores import SUBSETS
from vofp_plugin.utils.files import whole_file

# Okabe and Ito's colours, told apart by colour-blind readers too; markers help where they repeat.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
MARKERS = "oDs^vP*X<>"
BASELINE_STYLES = (":", "--", "-.")
MIN_ANSWERS = 20  # a bin with fewer is noise, and not drawn
PANEL_SIZE = (3.9, 3.6)  # inches
LARGE_PANEL_SIZE = (4.8, 4.2)  # inches, for panels of many lines
LEGEND_WIDTH = 2.7  # inches

# SpeechBrain writes all that is logged into log.txt: half of it would be of fonts.
logging.getLogger("matplotlib").setLevel(logging.WARNING)


def save_figure(figure, path):
    """Write a figure as PNG, whole or not at all."""
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=120)


def plot_stream(stream, rate, said, curves, hop):
    """A stream of audio, who says what in it, and the probability of the best word beneath.

    Arguments
    ---------
    stream : numpy.ndarray
        (L,), full scale at 1.
    rate : int
        In Hz.
    said : dict
        {label: (start, end)}, in s.
    curves : dict
        {label: probability in every window}.
    hop : float
        From window to window, in s.

    Returns
    -------
    matplotlib.figure.Figure
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 1.4 * (1 + len(curves))), layout="constrained")
    audio, *panels = figure.subplots(1 + len(curves), 1, sharex=True)
    step = max(1, rate // 100)
    audio.plot(np.arange(0, len(stream), step) / rate, stream[::step], color="gray", linewidth=0.5)
    for label, (start, end) in said.items():
        audio.axvspan(start, end, color=COLORS[0], alpha=0.2)
        audio.annotate(
            label, (start, 0.9), xycoords=("data", "axes fraction"), va="top", fontsize=7
        )
    for panel, color, (label, values) in zip(panels, COLORS, curves.items(), strict=False):
        panel.step(hop * np.arange(len(values)), values, where="post", color=color)
        panel.set(ylabel=label, ylim=(0, 1.02))
    panels[-1].set_xlabel("start of the window (s)")
    audio.set_yticks([])
    return figure


def plot_accuracy(rows):
    """Accuracy against K with intervals, one column of panels per condition, one line per subset.

    Shared systems are horizontal lines, their intervals at K = 0 (none). Of strangers only those
    of the first personalized system are drawn: more lines would hide each other. Systems far below
    the shared ones are named at the lower edge only.

    Arguments
    ---------
    rows : list of dict
        Rows of ``compare``.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    rows = [row for row in rows if row["metric"] == "accuracy"]
    if not rows:
        return None
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    subsets = list(dict.fromkeys(row["subset"] for row in rows))
    shots = sorted({row["shots"] for row in rows})
    series = _accuracy_series(rows)
    figure, panels = _panels(
        len(conditions) * len(subsets), len(conditions), LEGEND_WIDTH, LARGE_PANEL_SIZE
    )
    sections = [(subset, condition) for subset in subsets for condition in conditions]
    for panel, (subset, condition) in zip(panels, sections, strict=True):
        shown = [row for row in rows if (row["subset"], row["condition"]) == (subset, condition)]
        for index, (label, chosen, style) in enumerate(series):
            chosen = [row for row in chosen if row in shown]
            dodge = 0.06 * (index - (len(series) - 1) / 2)  # keeps intervals apart
            if chosen:
                _draw_rows(panel, chosen, shots, dodge, label=label, **style)
        _cut_below(panel, shown)
        panel.set_title(f"{condition}, {SUBSETS[subset]}", fontsize="medium")
        panel.set_xlabel("Enrollment utterances K")
        panel.set_xticks(range(len(shots)), [str(number) for number in shots])
        panel.set_ylabel("Accuracy, unseen speakers (%)")
    _add_legend(figure, panels)
    return figure


def plot_speakers(accuracies, pairs):
    """Accuracy of each speaker in two cells, one panel per pair, one column per condition.

    Arguments
    ---------
    accuracies : pandas.DataFrame
        Speakers in rows, cells in columns, in [0, 1].
    pairs : dict
        {cell: other cell}, the other one on the horizontal axis.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    if not pairs:
        return None
    figure, panels = _panels(len(pairs), len({condition for *_, condition in pairs}))
    for panel, (cell, other) in zip(panels, pairs.items(), strict=True):
        x, y = 100 * accuracies[other], 100 * accuracies[cell]
        lowest = max(0.0, min(x.min(), y.min()) - 3)
        panel.plot([lowest, 101], [lowest, 101], color="0.4", linewidth=1)
        panel.scatter(x, y, s=22, color=COLORS[0], alpha=0.6, linewidths=0)
        panel.set_xlabel(f"{_label(other)}: accuracy (%)")
        panel.set_ylabel(f"{_label(cell)}: accuracy (%)")
        panel.set(xlim=(lowest, 101), ylim=(lowest, 101), aspect="equal")
        panel.set_title(
            f"Condition: {cell[-1]}\n"
            f"{(y > x).sum()} speakers above the line, {(y < x).sum()} below",
            fontsize="medium",
        )
    return figure


def plot_training(epochs):
    """Loss and KL over epochs.

    Arguments
    ---------
    epochs : list of dict
        ``training.epochs`` of ``metrics.json``; losses in nats. The KL of a model that draws no
        weights, which is 0 or missing, has no panel.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    names = {"train_loss": "train loss", "train_nll": "train NLL", "valid_nll": "valid NLL"}
    has_kl = any(epoch.get("train_kl") for epoch in epochs)
    if not epochs:
        return None
    figure, panels = _panels(2 if has_kl else 1)
    for color, (key, label) in zip(COLORS, names.items(), strict=False):
        _draw_epochs(panels[0], epochs, key, label, color)
    panels[0].set(title="Loss", xlabel="Epoch", ylabel="Nats per query")
    panels[0].legend()
    if has_kl:
        _draw_epochs(panels[1], epochs, "train_kl", "train KL", COLORS[3])
        panels[1].set(title="KL of posterior from prior", xlabel="Epoch", ylabel="Nats per speaker")
    return figure


def plot_reliability(bins):
    """Accuracy minus confidence against confidence, one panel per condition.

    The difference shows small gaps that the usual diagonal hides.

    Arguments
    ---------
    bins : dict
        {(system, enrollment, shots, condition): calibration bins, shape (num_bins, 3)}.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    if not bins:
        return None
    conditions = list(dict.fromkeys(condition for *_, condition in bins))
    labels = list(dict.fromkeys(map(_label, bins)))
    figure, panels = _panels(len(conditions), None, LEGEND_WIDTH, LARGE_PANEL_SIZE)
    for panel, condition in zip(panels, conditions, strict=True):
        panel.axhline(0, color="0.4", linewidth=1, label="calibrated")
        for cell in bins:
            if cell[-1] == condition:
                _draw_bins(panel, bins[cell], _label(cell), labels.index(_label(cell)))
        panel.set(title=f"Condition: {condition}", xlabel="Confidence (%)", xlim=(0, 102))
        panel.set_ylabel("Accuracy - confidence (points)")
    _add_legend(figure, panels)
    return figure


def plot_det(curves):
    """Detection error trade-off, both axes by normal deviates, one panel per condition.

    Arguments
    ---------
    curves : list of dict
        `condition`, `shots` and `points`, (FAR, FRR) each.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    if not curves:
        return None
    conditions = list(dict.fromkeys(curve["condition"] for curve in curves))
    figure, panels = _panels(len(conditions))
    ticks = np.array([0.001, 0.01, 0.05, 0.2, 0.5])
    for panel, condition in zip(panels, conditions, strict=True):
        shown = [curve for curve in curves if curve["condition"] == condition]
        for color, curve in zip(COLORS, shown, strict=False):
            x, y = norm.ppf(np.clip(np.array(curve["points"]).T, 5e-4, 0.6))
            panel.plot(x, y, color=color, label=f"K = {curve['shots']}")
        panel.set_xticks(norm.ppf(ticks), [f"{100 * tick:g}" for tick in ticks])
        panel.set_yticks(norm.ppf(ticks), [f"{100 * tick:g}" for tick in ticks])
        panel.set(title=condition, xlabel="False acceptances (%)", ylabel="False rejections (%)")
        panel.legend()
    return figure


def _label(cell):
    system, enrollment, shots, _ = cell
    if enrollment == "shared":
        return system
    return f"{system}: {enrollment}" + (f", K = {shots}" if shots else "")


def _panels(number, columns=None, legend_width=0.0, panel_size=PANEL_SIZE):
    # Figures are made without pyplot, which would keep every one of them and pick a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = columns or number
    lines = -(-number // columns)
    size = (panel_size[0] * columns + legend_width, panel_size[1] * lines)
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(lines, columns, squeeze=False).ravel()
    for panel in panels:
        panel.grid(alpha=0.25)
    for panel in panels[number:]:
        panel.set_axis_off()
    return figure, panels[:number]


def _add_legend(figure, panels):
    labelled = {}
    for panel in panels:
        handles, labels = panel.get_legend_handles_labels()
        labelled |= dict(zip(labels, handles, strict=True))
    figure.legend(labelled.values(), labelled.keys(), loc="outside right center", frameon=False)


def _accuracy_series(rows):
    """What is drawn, as (label, rows, style)."""
    systems = list(dict.fromkeys(row["system"] for row in rows))
    strangers = [row["system"] for row in rows if row["enrollment"] == "stranger"][:1]
    series = []
    for index, system in enumerate(systems):
        color = {"color": COLORS[index % len(COLORS)]}
        solid = {**color, "marker": MARKERS[index % len(MARKERS)], "linestyle": "-"}
        lines = [
            (system, ("shared",), {**color, "linestyle": BASELINE_STYLES[index % 3]}),
            (f"{system}: own (K = 0: none)", ("none", "own"), solid),
        ]
        if system in strangers:
            dashed = {**solid, "linestyle": "--", "mfc": "white"}
            lines.append((f"{system}: stranger", ("stranger",), dashed))
        for label, enrollments, style in lines:
            chosen = [
                row for row in rows if row["system"] == system and row["enrollment"] in enrollments
            ]
            if chosen:
                series.append((label, chosen, style))
    return series


def _draw_rows(panel, rows, shots, dodge, **style):
    rows = sorted(rows, key=lambda row: row["shots"])
    if rows[0]["enrollment"] == "shared":
        panel.axhline(100 * rows[0]["value"], linewidth=1.3, **style)
        style = {"color": style["color"]}  # the line has the label
    panel.errorbar(
        [shots.index(row["shots"]) + dodge for row in rows],
        [100 * row["value"] for row in rows],
        yerr=[[_half(row, "ci_low") for row in rows], [_half(row, "ci_high") for row in rows]],
        capsize=2.5,
        markersize=5,
        linewidth=1.5,
        elinewidth=1,
        **style,
    )


def _cut_below(panel, rows):
    """Ends a panel below the shared systems, so that one bad system does not flatten all others."""
    shared = [row["value"] for row in rows if row["enrollment"] == "shared"]
    if not shared:
        return
    lowest = 100 * min(shared)
    best = 100 * max(row["value"] for row in rows)
    floor = lowest - max(3, 1.5 * (best - lowest))
    panel.set_ylim(bottom=max(floor, panel.get_ylim()[0]))
    own = [row for row in rows if row["enrollment"] == "own"]
    below = dict.fromkeys(row["system"] for row in own if 100 * row["value"] < floor)
    if below:
        text = f"below: {', '.join(below)}"
        panel.text(0.02, 0.02, text, transform=panel.transAxes, fontsize="small")


def _half(row, side):
    return 0.0 if row[side] is None else abs(100 * (row[side] - row["value"]))


def _draw_epochs(panel, epochs, key, label, color):
    points = [(epoch["epoch"], epoch[key]) for epoch in epochs if epoch.get(key) is not None]
    if points:
        panel.plot(*zip(*points, strict=True), color=color, label=label, marker=".")
        panel.xaxis.get_major_locator().set_params(integer=True)


def _draw_bins(panel, bins, label, index):
    bins = np.asarray(bins)
    count, confidence, correct = bins[bins[:, 0] >= MIN_ANSWERS].T
    x, y = 100 * confidence / count, 100 * (correct - confidence) / count
    style = {"color": COLORS[index % len(COLORS)], "marker": MARKERS[index % len(MARKERS)]}
    panel.plot(x, y, color=style["color"], linewidth=1, alpha=0.7)
    areas = 8 + 90 * count / count.sum()  # by share of the answers: small marks are noisy
    panel.scatter(x, y, s=areas, label=label, alpha=0.8, linewidths=0, **style)
