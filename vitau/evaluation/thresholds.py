"""Fit on validation people: the threshold of recognition and the scale of a logistic curve."""

from collections.abc import Sequence

import numpy as np

from vitau.evaluation.bootstrap import Array
from vitau.evaluation.measure import by_subject


def best_threshold(subjects: Sequence[str], palsied: Array, score: Array) -> float:
    """Return the threshold with the highest balanced accuracy on these people.

    A few people leave a wide gap to choose from. Among the best thresholds, the one nearest to a half wins: a calibrated
    probability divides there. It keeps a tenth of the gap as distance to the nearest person.

    Args:
        subjects: N pseudonyms, one per frame.
        palsied: (N,) bool.
        score: (N,) probability of a palsy, 0 to 1.

    Returns:
        A probability; 0.5 if all people are of one class.
    """
    people = by_subject(subjects, palsied, score)
    truth_S, score_S = people.truth_SK[:, 0], people.score_SK[:, 0]
    if truth_S.all() or not truth_S.any():
        return 0.5
    level_L = np.concatenate([[0.0], np.unique(score_S), [1.0]])
    low_L, high_L = level_L[:-1], level_L[1:]
    inset_L = (high_L - low_L) / 10
    nearest_L = np.clip(0.5, low_L + inset_L, high_L - inset_L)
    called_LS = score_S >= nearest_L[:, None]
    balanced_L = (called_LS[:, truth_S].mean(1) + (~called_LS[:, ~truth_S]).mean(1)) / 2
    best_L = nearest_L[np.isclose(balanced_L, balanced_L.max())]
    return float(best_L[np.argmin(np.abs(best_L - 0.5))])


def fit_scale(margin: Array, truth: Array) -> float:
    """Return the maximum-likelihood ``k`` of ``P(truth) = 1 / (1 + exp(−k · margin))`` on (M,) pairs.

    The targets are smoothed as in Platt, *Probabilistic outputs for support vector machines*, 1999. A few pairs that are
    separated without an error therefore do not yield certainty. The scale is at least 0, and 1 without pairs.
    """
    margin_M, truth_M = np.asarray(margin, np.float64), np.asarray(truth, bool)
    if not len(margin_M):
        return 1.0
    target_M = np.where(truth_M, (truth_M.sum() + 1) / (truth_M.sum() + 2), 1 / ((~truth_M).sum() + 2))
    low, high = 0.0, 1.0 / max(float(np.abs(margin_M).mean()), 1e-12)

    def slope(k: float) -> float:
        return float((margin_M * (target_M - 0.5 * (1 + np.tanh(k * margin_M / 2)))).sum())

    for _ in range(30):
        if slope(high) <= 0:
            break
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return low
