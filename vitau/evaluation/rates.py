"""Metrics from the four counts of a yes/no question, average precision, and the points of a reliability plot.

κ is Cohen's (*Educational and Psychological Measurement* 1960): agreement beyond the chance that both margins give. MCC is the
correlation of truth and decision (Matthews, 1975). PPV and NPV depend on the share of positives among the tested.

Axes: S people, R weightings, B bins, E ends of equal scores.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np

from vitau.evaluation.bootstrap import Array, ratio

NUM_BINS: Final = 10
RATES: Final = ("accuracy", "balanced_accuracy", "sensitivity", "specificity", "ppv", "npv", "f1", "mcc", "kappa")
"""Metrics of yes/no decisions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReliabilityBin:
    """People whose score is in one range: their mean score, the share who are positive, and their number."""

    score: float
    positive: float
    num_people: float


def count_outcomes(truth_S: Array, called_S: Array) -> Array:
    """Return hits, misses, false alarms and correct rejections as columns: (S, 4) bool."""
    return np.stack([truth_S & called_S, truth_S & ~called_S, ~truth_S & called_S, ~truth_S & ~called_S], axis=1)


def rates(counts_R4: Array) -> Mapping[str, Array]:
    """Compute :data:`RATES` from hits, misses, false alarms and correct rejections: each (R,), NaN where undefined."""
    hit_R, miss_R, alarm_R, rest_R = counts_R4.T
    total_R, positive_R, negative_R = counts_R4.sum(1), hit_R + miss_R, rest_R + alarm_R
    called_R, passed_R = hit_R + alarm_R, rest_R + miss_R
    sensitivity_R, specificity_R = ratio(hit_R, positive_R), ratio(rest_R, negative_R)
    expected_R = called_R * positive_R + passed_R * negative_R  # agreement by chance, times the square of the total
    return {
        "accuracy": ratio(hit_R + rest_R, total_R),
        "balanced_accuracy": (sensitivity_R + specificity_R) / 2,
        "sensitivity": sensitivity_R,
        "specificity": specificity_R,
        "ppv": ratio(hit_R, called_R),
        "npv": ratio(rest_R, passed_R),
        "f1": ratio(2 * hit_R, 2 * hit_R + miss_R + alarm_R),
        "mcc": ratio(hit_R * rest_R - alarm_R * miss_R, np.sqrt(called_R * positive_R * negative_R * passed_R)),
        "kappa": ratio(total_R * (hit_R + rest_R) - expected_R, total_R**2 - expected_R),
    }


def average_precision(truth_S: Array, score_S: Array, weight_RS: Array) -> Array:
    """Compute the average precision of people for R weightings: (R,), NaN without a positive.

    As in scikit-learn: the sum of precision times the step in recall over the distinct scores, from the highest.
    """
    if not len(score_S):
        return np.full(len(weight_RS), np.nan)
    order = np.argsort(-score_S, kind="stable")
    weight_RS, truth_S, score_S = weight_RS[:, order], truth_S[order], score_S[order]
    ends = np.append(np.flatnonzero(np.diff(score_S)), len(score_S) - 1)
    hits_RE = np.cumsum(weight_RS * truth_S, axis=1)[:, ends]
    called_RE = np.cumsum(weight_RS, axis=1)[:, ends]
    steps_RE = np.diff(hits_RE, axis=1, prepend=0)
    precision_RE = np.divide(hits_RE, called_RE, out=np.zeros_like(hits_RE), where=called_RE > 0)
    return ratio((steps_RE * precision_RE).sum(1), hits_RE[:, -1])


def reliability_bins(truth_S: Array, score_S: Array, num_rounds: int = 1) -> list[ReliabilityBin]:
    """Return the people by their probability, in bins of equal width; empty bins are left out.

    Args:
        truth_S: bool.
        score_S: probabilities, 0 to 1.
        num_rounds: how often each person is among S; ``num_people`` is a mean over the rounds.
    """
    bin_S = np.minimum((score_S * NUM_BINS).astype(int), NUM_BINS - 1)
    return [
        ReliabilityBin(
            score=float(score_S[bin_S == number].mean()),
            positive=float(truth_S[bin_S == number].mean()),
            num_people=float((bin_S == number).sum()) / num_rounds,
        )
        for number in range(NUM_BINS)
        if (bin_S == number).any()
    ]
