"""Figures of reports; every function returns a matplotlib Figure, or None without data."""

from typing import NamedTuple

import torch

from vofp_plugin.utils.files import whole_file

# Okabe and Ito's colours, told apart by colour-blind readers too.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
PANEL_SIZE = (3.9, 3.6)  # inches
LEGEND_WIDTH = 2.7  # inches


class Scatter(NamedTuple):
    """Accuracies of the same N speakers in two ways, in [0, 1], shape (N,) each."""

    system: str
    condition: str
    x_label: str
    y_label: str
    x: torch.Tensor
    y: torch.Tensor


def save_figure(figure, path):
    """Write a figure as PNG, whole or not at all."""
    with whole_file(path) as partial:
        figure.savefig(partial, format="png", dpi=120)


def plot_accuracy(rows):
    """Accuracy against K with intervals, one panel per condition.

    Arguments
    ---------
    rows : list of dict
        Rows of ``compare``.

    Returns
    -------
    matplotlib.figure.Figure
    """
    rows = [row for row in rows if row["metric"] == "accuracy" and row["subset"] == "all"]
    conditions = list(dict.fromkeys(row["condition"] for row in rows))
    systems = list(dict.fromkeys(row["system"] for row in rows))
    figure, panels = _panels(len(conditions), legend_width=LEGEND_WIDTH)
    for panel, condition in zip(panels, conditions, strict=True):
        for index, system in enumerate(systems):
            chosen = [
                row for row in rows if (row["condition"], row["system"]) == (condition, system)
            ]
            dodge = 0.06 * (index - (len(systems) - 1) / 2)  # keeps intervals apart
            _draw_system(panel, chosen, system, COLORS[index % len(COLORS)], dodge)
        panel.set(title=f"Condition: {condition}", xlabel="Enrollment utterances K")
        panel.set_xticks(sorted({row["shots"] for row in rows}))
        panel.set_ylabel("Accuracy, unseen speakers (%)")
    _add_legend(figure, panels)
    return figure


def plot_speakers(scatters):
    """Accuracy of each speaker in two ways, one panel per scatter, one column per condition.

    Arguments
    ---------
    scatters : list of Scatter

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    if not scatters:
        return None
    figure, panels = _panels(len(scatters), len({scatter.condition for scatter in scatters}))
    for panel, scatter in zip(panels, scatters, strict=True):
        x, y = 100 * scatter.x, 100 * scatter.y
        lowest = max(0.0, torch.cat([x, y]).min().item() - 3)
        panel.plot([lowest, 101], [lowest, 101], color="0.4", linewidth=1)
        panel.scatter(x, y, s=22, color=COLORS[0], alpha=0.6, linewidths=0)
        panel.set_xlabel(f"{scatter.x_label}: accuracy (%)")
        panel.set_ylabel(f"{scatter.y_label}: accuracy (%)")
        panel.set(xlim=(lowest, 101), ylim=(lowest, 101), aspect="equal")
        panel.set_title(
            f"{scatter.system}, condition: {scatter.condition}\n"
            f"{(y > x).sum()} speakers above the line, {(y < x).sum()} below",
            fontsize="medium",
        )
    return figure


def plot_training(epochs):
    """Loss and KL over epochs.

    Arguments
    ---------
    epochs : list of dict
        ``training.epochs`` of ``metrics.json``; losses in nats, a shared model has no KL.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    names = {"train_loss": "train loss", "train_nll": "train NLL", "valid_nll": "valid NLL"}
    has_kl = any(epoch.get("train_kl") is not None for epoch in epochs)
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


def plot_reliability(calibration):
    """Accuracy against confidence, for the largest K of each enrollment, one panel per condition.

    Arguments
    ---------
    calibration : list of dict
        ``calibration`` of ``metrics.json``.

    Returns
    -------
    matplotlib.figure.Figure or None
    """
    if not calibration:
        return None
    largest = {}
    for entry in sorted(calibration, key=lambda entry: entry["shots"]):
        largest[entry["condition"], entry["enrollment"]] = entry
    conditions = list(dict.fromkeys(entry["condition"] for entry in calibration))
    enrollments = list(dict.fromkeys(entry["enrollment"] for entry in calibration))
    figure, panels = _panels(len(conditions), legend_width=LEGEND_WIDTH)
    for panel, condition in zip(panels, conditions, strict=True):
        panel.plot([0, 100], [0, 100], color="0.4", linewidth=1, label="calibrated")
        for color, enrollment in zip(COLORS, enrollments, strict=False):
            entry = largest.get((condition, enrollment))
            if entry is not None:
                _draw_bins(panel, entry, color)
        panel.set(title=f"Condition: {condition}", xlabel="Confidence (%)", ylabel="Accuracy (%)")
        panel.set(xlim=(0, 102), ylim=(0, 102), aspect="equal")
    _add_legend(figure, panels)
    return figure


def _panels(number, columns=None, legend_width=0.0):
    # Figures are made without pyplot, which would keep every one of them and pick a display.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    columns = columns or number
    lines = -(-number // columns)
    size = (PANEL_SIZE[0] * columns + legend_width, PANEL_SIZE[1] * lines)
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


def _draw_system(panel, rows, system, color, dodge):
    lines = (
        (("shared",), system, {"marker": "D", "linestyle": ":"}),
        (("none", "own"), f"{system}: own (K = 0: none)", {"marker": "o"}),
        (("stranger",), f"{system}: stranger", {"marker": "s", "linestyle": "--", "mfc": "white"}),
    )
    for enrollments, label, style in lines:
        chosen = [row for row in rows if row["enrollment"] in enrollments]
        if chosen:
            _draw_rows(panel, chosen, dodge, color=color, label=label, **style)
        if chosen and enrollments == ("shared",):
            panel.axhline(100 * chosen[0]["value"], color=color, linestyle=":", linewidth=1.2)


def _draw_rows(panel, rows, dodge, **style):
    rows = sorted(rows, key=lambda row: row["shots"])
    panel.errorbar(
        [row["shots"] + dodge for row in rows],
        [100 * row["value"] for row in rows],
        yerr=[[_half(row, "ci_low") for row in rows], [_half(row, "ci_high") for row in rows]],
        capsize=2.5,
        markersize=5,
        linewidth=1.5,
        elinewidth=1,
        **style,
    )


def _half(row, side):
    return 0.0 if row[side] is None else abs(100 * (row[side] - row["value"]))


def _draw_epochs(panel, epochs, key, label, color):
    points = [(epoch["epoch"], epoch[key]) for epoch in epochs if epoch.get(key) is not None]
    if points:
        panel.plot(*zip(*points, strict=True), color=color, label=label, marker=".")
        panel.xaxis.get_major_locator().set_params(integer=True)


def _draw_bins(panel, entry, color):
    bins = torch.tensor(entry["bins"], dtype=torch.float64)
    count, confidence, correct = bins[bins[:, 0] > 0].unbind(dim=1)
    shots = f", K = {entry['shots']}" if entry["shots"] else ""
    x, y = 100 * confidence / count, 100 * correct / count
    panel.plot(x, y, color=color, linewidth=1, alpha=0.7)
    areas = 8 + 90 * count / count.sum()  # by share of the answers: small marks are noisy
    panel.scatter(x, y, s=areas, color=color, label=f"{entry['enrollment']}{shots}")
