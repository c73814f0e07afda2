"""Errors of a detector at all thresholds: false acceptances (FAR) and false rejections (FRR)."""

from typing import NamedTuple

import numpy as np

from vofp_plugin.lobes.decision import OperatingPoint

OPERATING_FARS = 0.001, 0.01, 0.05


class DetCurve(NamedTuple):
    """Both error rates at every threshold that makes a difference, lowest threshold first.

    A claim is accepted where its score is at least the threshold. Equal scores are accepted or
    rejected together. At the last threshold, infinity, nothing is accepted.

    Arguments
    ---------
    thresholds : numpy.ndarray
        (T,), rising.
    far : numpy.ndarray
        Share of false claims that are accepted, (T,).
    frr : numpy.ndarray
        Share of true claims that are rejected, (T,).

    Example
    -------
    >>> curve = DetCurve.of([0.9, 0.4, 0.6, 0.1], [True, True, False, False])
    >>> curve.equal_error()
    (0.5, 0.6)
    >>> curve.frr_at(0.01), curve.at(0.5), curve.min_dcf(p_target=0.5)
    ((0.5, 0.9), (0.5, 0.5), (0.25, 0.4))
    """

    thresholds: np.ndarray
    far: np.ndarray
    frr: np.ndarray

    @classmethod
    def of(cls, scores, accepted, weights=None):
        """Makes the curve of scored claims, by one sort.

        Arguments
        ---------
        scores : array-like
            (M,), higher for a true claim.
        accepted : array-like
            Whether each claim is true, (M,), bool.
        weights : array-like
            How much each claim counts, (M,); None counts all alike.

        Returns
        -------
        DetCurve

        Raises
        ------
        ValueError
            If shapes differ, a score is not finite, or all claims of a class are missing.
        """
        scores, accepted, weights = _checked(scores, accepted, weights)
        order = np.argsort(scores)
        thresholds = scores[order]
        first = np.concatenate([[True], thresholds[1:] != thresholds[:-1]])  # of equal scores
        accepted, weights = accepted[order], weights[order]
        frr = _share_below(np.where(accepted, weights, 0), first)
        far = 1 - _share_below(np.where(accepted, 0, weights), first)
        return cls(np.append(thresholds[first], np.inf), far, frr)

    def equal_error(self):
        """Equal error rate and its threshold, where both rates differ least: their mean."""
        place = np.abs(self.far - self.frr).argmin()
        return self._point((self.far + self.frr) / 2, place)

    def frr_at(self, far):
        """Lowest FRR at a FAR of at most `far`, and the threshold."""
        return self._point(self.frr, np.argmax(self.far <= far + 1e-12))

    def operating_points(self, fars=OPERATING_FARS):
        """Points of a `Decision` for some FAR; those at which no claim is accepted are left out."""
        found = [(far, *self.frr_at(far)) for far in fars]
        return [OperatingPoint(far, where, frr) for far, frr, where in found if np.isfinite(where)]

    def min_dcf(self, p_target=0.01, c_miss=1.0, c_fa=1.0):
        """Lowest detection cost c_miss FRR p_target + c_fa FAR (1 - p_target), and the threshold.

        Source
        ------
        NIST speaker recognition evaluations; SpeechBrain's `minDCF`, which it equals.
        """
        cost = c_miss * p_target * self.frr + c_fa * (1 - p_target) * self.far
        return self._point(cost, cost.argmin())

    def at(self, threshold):
        """FAR and FRR at a threshold, such as one chosen on validation speakers."""
        place = np.searchsorted(self.thresholds, threshold)
        return float(self.far[place]), float(self.frr[place])

    def _point(self, values, place):
        return float(values[place]), float(self.thresholds[place])


def _checked(scores, accepted, weights):
    scores = np.asarray(scores)
    accepted = np.asarray(accepted, dtype=bool)
    weights = np.ones(len(scores)) if weights is None else np.asarray(weights, dtype=float)
    if scores.ndim != 1 or not scores.shape == accepted.shape == weights.shape:
        raise ValueError(
            f"Got scores of shape {scores.shape}, accepted of {accepted.shape} and weights of "
            f"{weights.shape}; expected one of each for every claim, (M,)."
        )
    if not np.isfinite(scores).all():
        raise ValueError(
            f"Got {np.sum(~np.isfinite(scores))} scores that are NaN or infinite; expected finite "
            "ones: look for a diverged training or broken features."
        )
    for name, weight in (("true", weights[accepted]), ("false", weights[~accepted])):
        if not weight.sum() > 0:
            raise ValueError(
                f"Got no {name} claims that count; expected both true and false ones: add some."
            )
    return scores, accepted, weights


def _share_below(weights, first):
    """Share of sorted `weights` (M,) below each threshold, which stands at a `first` place."""
    total = np.cumsum(weights)
    below = np.concatenate([[0.0], total[:-1]])[first]
    return np.append(below, total[-1]) / total[-1]
