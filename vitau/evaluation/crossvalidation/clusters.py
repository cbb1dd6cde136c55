"""Metrics of frames or people as sums over people, so that a bootstrap over people costs one product per metric.

The same functions serve both levels. At the level of people, a person is one unit; at the level of frames, each frame is one,
and a resample takes or leaves all frames of a person together.

Axes: U units, S people, P palsied (positive) people, Q others, R weightings of the people, B bins.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from vitau.evaluation.bootstrap import Array, ratio
from vitau.evaluation.rates import NUM_BINS, count_outcomes, rates


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Clusters:
    """Summary of one yes/no question for a bootstrap: sums over the units of each person.

    Attributes:
        counts_S4: hits, misses, false alarms and correct rejections, (S, 4).
        above_PQ: pairs of units in which the positive has the higher score; ties count a half.
        num_S: units of each person.
        positive_S: bool.
        gap_SB: sum of truth minus score by bin of the score; ``None`` unless scores are probabilities.
        square_S: sum of the squared differences; ``None`` likewise.
    """

    counts_S4: Array
    above_PQ: Array
    num_S: Array
    positive_S: Array
    gap_SB: Array | None = None
    square_S: Array | None = None


def cluster(
    person_U: Array, num_people: int, truth_U: Array, called_U: Array, score_U: Array, *, probabilities: bool = False
) -> Clusters:
    """Sum units by person; a person without units counts nothing.

    Args:
        person_U: index of the person of each unit, int.
        num_people: number of people, S.
        truth_U: bool, equal for all units of a person.
        called_U: bool, the decision.
        score_U: float; it ranks the units.
        probabilities: scores are probabilities from 0 to 1, which can be calibrated.
    """
    outcomes_U4 = count_outcomes(truth_U, called_U)
    positive_S = _sums(person_U, num_people, truth_U) > 0
    found = {
        "counts_S4": np.stack([_sums(person_U, num_people, column) for column in outcomes_U4.T], axis=1),
        "above_PQ": _pairs(person_U, positive_S, score_U),
        "num_S": _sums(person_U, num_people, np.ones(len(person_U))),
        "positive_S": positive_S,
    }
    if probabilities:
        bin_U = np.minimum((score_U * NUM_BINS).astype(int), NUM_BINS - 1)
        gap_U = truth_U - score_U
        found["gap_SB"] = np.stack(
            [_sums(person_U, num_people, gap_U * (bin_U == number)) for number in range(NUM_BINS)], axis=1
        )
        found["square_S"] = _sums(person_U, num_people, gap_U**2)
    return Clusters(**found)


def decision_rates(clusters: Clusters, weight_RS: Array) -> Mapping[str, Array]:
    """Compute the metrics of decisions for R weightings of the people: each (R,), NaN where undefined."""
    return rates(weight_RS @ clusters.counts_S4)


def auroc(clusters: Clusters, weight_RS: Array) -> Array:
    """Compute the area under the ROC curve, the Mann–Whitney statistic over units: (R,)."""
    positive_RP, negative_RQ = weight_RS[:, clusters.positive_S], weight_RS[:, ~clusters.positive_S]
    num_P, num_Q = clusters.num_S[clusters.positive_S], clusters.num_S[~clusters.positive_S]
    pairs_R = (positive_RP @ num_P) * (negative_RQ @ num_Q)
    return ratio(((positive_RP @ clusters.above_PQ) * negative_RQ).sum(1), pairs_R)


def calibration(clusters: Clusters, weight_RS: Array) -> dict[str, Array]:
    """Compute ECE and Brier score, as :func:`vitau.evaluation.measure.calibration` does of people: each (R,)."""
    assert clusters.gap_SB is not None, "the scores are probabilities"
    assert clusters.square_S is not None
    total_R = weight_RS @ clusters.num_S
    ece_R = ratio(np.abs(weight_RS @ clusters.gap_SB).sum(1), total_R)
    return {"ece": ece_R, "brier": ratio(weight_RS @ clusters.square_S, total_R)}


def _sums(person_U: Array, num_people: int, value_U: Array) -> Array:
    return np.bincount(person_U, np.asarray(value_U, np.float64), minlength=num_people)


def _pairs(person_U: Array, positive_S: Array, score_U: Array) -> Array:
    """Count pairs of units of two people in O(U log U) per negative person, without a matrix of all units."""
    positives, negatives = np.flatnonzero(positive_S), np.flatnonzero(~positive_S)
    column_S = np.zeros(len(positive_S), int)
    column_S[positives] = np.arange(len(positives))
    chosen_U = positive_S[person_U]
    score_V, person_V = score_U[chosen_U], column_S[person_U[chosen_U]]
    above_PQ = np.zeros((len(positives), len(negatives)))
    order = np.argsort(person_U, kind="stable")
    ends_S = np.searchsorted(person_U[order], np.arange(len(positive_S) + 1))
    for column, person in enumerate(negatives):
        theirs = np.sort(score_U[order[ends_S[person] : ends_S[person + 1]]])
        below_V = np.searchsorted(theirs, score_V, "left") + np.searchsorted(theirs, score_V, "right")
        above_PQ[:, column] = np.bincount(person_V, below_V / 2, minlength=len(positives))
    return above_PQ
