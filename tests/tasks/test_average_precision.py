"""Average precision, by hand and against the definition."""

import math

import numpy as np
import pytest

from vofp_plugin.tasks.average_precision import average_precision


def test_by_hand():
    assert average_precision([3, 2, 1], [True, True, False]) == 1.0
    assert average_precision([3, 2, 1], [False, False, True]) == pytest.approx(1 / 3)


def test_equal_scores_count_together():
    assert average_precision([1, 1, 1, 1], [True, False, False, False]) == 0.25


def test_mean_of_precisions_at_every_item():
    generator = np.random.default_rng(0)
    scores, is_class = generator.normal(size=200), generator.random(200) < 0.3
    found = is_class[np.argsort(-scores)]
    precision = np.cumsum(found) / np.arange(1, 201)
    assert average_precision(scores, is_class) == pytest.approx(precision[found].mean())


def test_no_item_has_no_precision():
    assert math.isnan(average_precision([1.0], [False]))
