"""Average precision: how well scores put the items of a class before all others."""

import numpy as np


def average_precision(scores, is_class):
    """Mean of the precision at every item of the class, best score first.

    Equal scores are found together.

    Arguments
    ---------
    scores : array-like
        (M,), higher for an item of the class.
    is_class : array-like
        (M,), bool.

    Returns
    -------
    float
        From 0 to 1; NaN where no item is of the class.

    Example
    -------
    >>> round(average_precision([0.9, 0.8, 0.7, 0.1], [True, False, True, False]), 4)
    0.8333
    """
    scores, is_class = np.asarray(scores), np.asarray(is_class, dtype=bool)
    if not is_class.any():
        return float("nan")
    order = np.argsort(-scores)
    last = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)  # of equal scores
    found = np.cumsum(is_class[order])[last]
    precision = found / (last + 1)
    return float(np.sum(np.diff(found, prepend=0) * precision) / found[-1])
