"""Fit on validation people: calibration, thresholds and abstention band of recognition, thresholds of the regions, scales."""

from collections.abc import Sequence
from typing import Final

import numpy as np

from vitau.evaluation.bootstrap import Array
from vitau.evaluation.decision import Calibration, log_odds, sigmoid
from vitau.evaluation.subjects import by_subject

PRECISION: Final = 3.0
"""Of the prior of a region's place on the logistic curve; from 1 to 10 the accuracy on drawn people is the same within 0.01."""

SD_LOG_SCALE: Final = 0.5
"""Of the normal prior of the logarithm of recognition's calibration scale, whose mean is 0: the scores as they are."""
SD_BIAS: Final = 0.5
"""Of the normal prior of the calibration's bias, whose mean is 0."""
BAND_ERROR: Final = 0.1
"""Share of people of each class whose score may lie beyond the abstention band on the wrong side."""


def fit_calibration(subjects: Sequence[str], palsied: Array, score: Array) -> Calibration:
    """Fit the curve that calibrates recognition: the most probable scale and bias, given people and a weak prior.

    A person counts once, with the mean log-odds of the frames. A few validation people are often separated without an error.
    Maximum likelihood would then make every score certain, so normal priors hold the logarithm of the scale and the bias back.
    The scale stays positive: the order of people does not change.

    Args:
        subjects: N pseudonyms, one per frame.
        palsied: (N,) bool.
        score: (N,) probability of a palsy as the network gives it, 0 to 1.

    Returns:
        The curve; the scores as they are if all people are of one class.
    """
    people = by_subject(subjects, palsied, score, averages_log_odds=True)
    truth_S, value_S = people.truth_SK[:, 0], log_odds(people.score_SK[:, 0])
    if truth_S.all() or not truth_S.any():
        return Calibration()
    precision_2 = np.array([SD_LOG_SCALE**-2, SD_BIAS**-2])

    def loss(point_2: Array) -> float:
        curve_S = np.exp(point_2[0]) * value_S + point_2[1]
        return float(np.logaddexp(0, np.where(truth_S, -curve_S, curve_S)).sum() + (precision_2 * point_2**2).sum() / 2)

    point_2: Array = np.zeros(2)
    for _ in range(100):  # Fisher scoring with halved steps; it ends at a point of slope 0
        scaled_S = np.exp(point_2[0]) * value_S
        probability_S = sigmoid(scaled_S + point_2[1])
        design_S2 = np.column_stack([scaled_S, np.ones_like(scaled_S)])
        gradient_2 = design_S2.T @ (probability_S - truth_S) + precision_2 * point_2
        information_22 = (design_S2.T * (probability_S * (1 - probability_S))) @ design_S2 + np.diag(precision_2)
        step_2 = np.linalg.solve(information_22, gradient_2)
        while loss(point_2 - step_2) > loss(point_2) and np.abs(step_2).max() > 1e-9:
            step_2 = step_2 / 2
        point_2 = point_2 - step_2
        if np.abs(step_2).max() < 1e-9:
            break
    return Calibration(scale=round(float(np.exp(point_2[0])), 6), bias=round(float(point_2[1]), 6))


def abstention_band(subjects: Sequence[str], palsied: Array, score: Array, threshold: float) -> tuple[float, float]:
    """Return the lowest and the highest score at which a decision is uncertain, chosen on validation people.

    The band reaches from one class's conformal quantile to the other's, and contains the threshold (Vovk, *Conditional
    validity of inductive conformal predictors*, 2012). If new people resemble the validation people, at most a share of
    ``BAND_ERROR`` of each class gets a wrong decision that is not marked as uncertain. With n people of a class, the share is
    at least 1 / (n + 1).

    Args:
        subjects: N pseudonyms, one per frame.
        palsied: (N,) bool.
        score: (N,) calibrated probability of a palsy.
        threshold: of recognition.
    """
    people = by_subject(subjects, palsied, score, averages_log_odds=True)
    truth_S, score_S = people.truth_SK[:, 0], people.score_SK[:, 0]
    ends = [threshold]
    if truth_S.any():
        palsied_P = np.sort(score_S[truth_S])
        ends.append(float(palsied_P[_quantile_index(len(palsied_P))]))
    if not truth_S.all():
        others_Q = np.sort(score_S[~truth_S])[::-1]
        ends.append(float(others_Q[_quantile_index(len(others_Q))]))
    return min(ends), max(ends)


def _quantile_index(num_people: int) -> int:
    """Return the position of the conformal quantile, from the side of the other class: the first if there are few people."""
    return max(int(BAND_ERROR * (num_people + 1)), 1) - 1


def best_threshold(subjects: Sequence[str], palsied: Array, score: Array, *, averages_log_odds: bool = False) -> float:
    """Return the threshold with the highest balanced accuracy on these people.

    A few people leave a wide gap to choose from. Among the best thresholds, the one nearest to a half wins: a calibrated
    probability divides there. It keeps a tenth of the gap as distance to the nearest person.

    Args:
        subjects: N pseudonyms, one per frame.
        palsied: (N,) bool.
        score: (N,) probability of a palsy, 0 to 1.
        averages_log_odds: a person's score is that of the mean log-odds.

    Returns:
        A probability; 0.5 if all people are of one class.
    """
    people = by_subject(subjects, palsied, score, averages_log_odds=averages_log_odds)
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


def region_thresholds(subjects: Sequence[str], affected: Array, score: Array, known: Array) -> tuple[float, ...]:
    """Return the score of each region at which it is as likely affected as spared, on these people.

    One logistic curve is fitted to the people's mean scores, with a common slope and a place for each region. A normal prior
    draws the places together, because a few validation people say little about eight regions. The targets are smoothed as in
    :func:`fit_scale`.

    Args:
        subjects: N pseudonyms, one per frame.
        affected: (N, A) bool.
        score: (N, A) float.
        known: (N, A) bool, False where there is no label.

    Returns:
        A thresholds, between the smallest and the largest score; 0 where scores say nothing about the truth.
    """
    people = by_subject(subjects, affected, score, known)
    region_M = np.nonzero(people.known_SK)[1]
    truth_M, score_M = people.truth_SK[people.known_SK], people.score_SK[people.known_SK]
    num_regions, spread = people.score_SK.shape[1], float(score_M.std()) if len(score_M) else 0.0
    if spread == 0 or truth_M.all() or not truth_M.any():
        return (0.0,) * num_regions
    target_M = np.where(truth_M, (truth_M.sum() + 1) / (truth_M.sum() + 2), 1 / ((~truth_M).sum() + 2))
    design_MP = np.column_stack([score_M / spread, -np.ones_like(score_M), -np.eye(num_regions)[region_M]])
    penalty_P = np.concatenate([[1e-3, 1e-3], np.full(num_regions, PRECISION)])
    weight_P = np.zeros(num_regions + 2)
    for _ in range(50):  # Newton's method on a convex function
        probability_M = 0.5 * (1 + np.tanh(design_MP @ weight_P / 2))
        gradient_P = design_MP.T @ (probability_M - target_M) + penalty_P * weight_P
        hessian_PP = (design_MP.T * (probability_M * (1 - probability_M))) @ design_MP + np.diag(penalty_P)
        step_P = np.linalg.solve(hessian_PP, gradient_P)
        weight_P -= step_P
        if np.abs(step_P).max() < 1e-9:
            break
    slope, common, own_A = weight_P[0] / spread, weight_P[1], weight_P[2:]
    if slope <= 0:
        return (0.0,) * num_regions
    threshold_A = np.clip((common + own_A) / slope, score_M.min(), score_M.max())
    return tuple(round(float(threshold), 6) for threshold in threshold_A)


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
