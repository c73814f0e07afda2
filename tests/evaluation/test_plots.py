"""What the figures of a comparison show."""

import numpy as np
import pytest
from made_up_runs import made_up_run, made_up_runs

from vofp_plugin.evaluation.plots import plot_accuracy, plot_reliability, plot_training
from vofp_plugin.evaluation.scores import compare


def panels_of(figure):
    return {panel.get_title(): panel for panel in figure.axes}


def labels_of(figure):
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.fixture(scope="module")
def figure():
    others = [made_up_run("film", fold, shift=-0.02) for fold in (0, 1)]
    others += [made_up_run("nearest_mean", fold, shift=-0.6) for fold in (0, 1)]
    rows = compare([*made_up_runs(), *others], "shared")
    return plot_accuracy([row for row in rows if row["system"] != "shared_again"])


def test_accuracy_has_a_panel_for_each_condition_and_subset(figure):
    assert list(panels_of(figure)) == [
        "quiet, all speakers",
        "noise, all speakers",
        "quiet, hardest fifth of the speakers",
        "noise, hardest fifth of the speakers",
    ]


def test_accuracy_has_lines_of_all_systems_and_strangers_of_one(figure):
    assert labels_of(figure) == [
        "shared",
        "shared_large",
        "film: own (K = 0: none)",
        "film: stranger",
        "nearest_mean: own (K = 0: none)",
        "vofp: own (K = 0: none)",
    ]


def test_a_system_far_below_is_named_instead_of_flattening_the_others(figure):
    panel = panels_of(figure)["quiet, all speakers"]
    # Shared systems have 77 and 80 %, the best has 89.8 %, nearest_mean less than 30 %.
    assert 40 < panel.get_ylim()[0] < 70
    assert [text.get_text() for text in panel.texts] == ["below: nearest_mean"]


def test_a_run_without_a_shared_system_is_shown_whole():
    figure = plot_accuracy(compare([made_up_run("nearest_mean", shift=-0.6)]))
    panel = panels_of(figure)["quiet, all speakers"]
    assert panel.get_ylim()[0] < 10  # strangers have 10 %
    assert not panel.texts


def test_reliability_is_the_gap_of_bins_with_enough_answers():
    bins = np.array([[10.0, 2.0, 9.0], [100.0, 60.0, 50.0], [50.0, 45.0, 47.0]])
    figure = plot_reliability({("shared", "shared", 0, "quiet"): bins})
    line = figure.axes[0].lines[1]  # the first is that of perfect calibration
    assert list(line.get_xdata()) == pytest.approx([60, 90])
    assert list(line.get_ydata()) == pytest.approx([-10, 4])
    assert labels_of(figure) == ["calibrated", "shared"]
    assert plot_reliability({}) is None


def test_only_a_training_that_draws_weights_has_a_panel_of_its_kl():
    epochs = [{"epoch": 1, "train_loss": 1.0, "train_kl": 2.0}]
    assert len(plot_training(epochs).axes) == 2
    assert len(plot_training([{**epochs[0], "train_kl": 0.0}]).axes) == 1
