"""Compare a model's performance on its test people with that on people who were scored first and labeled later."""

from dataclasses import dataclass
from typing import Final

import numpy as np

from vitau.evaluation.bootstrap import QUANTILES_99, Array, percentile_interval, resample_weights, with_point_estimate
from vitau.evaluation.measure import decisions

MIN_PER_CLASS: Final = 5
"""Performance is compared if each class of a question has at least as many people."""
NUM_RESAMPLES: Final = 4000


@dataclass(frozen=True, kw_only=True, slots=True)
class PerformanceChange:
    """A metric on the test people, and on people who were scored first and labeled later.

    Attributes:
        measure: Name of the metric.
        promised: Metric on the test people.
        now: Metric on the others.
        num_promised: Number of test people.
        num_now: Number of others.
        difference: ``now`` minus ``promised``.
        low: Lower end of the 99 % interval of the difference.
        high: Upper end.
        broken: Whether the whole interval is below 0.
    """

    measure: str
    promised: float
    now: float
    num_promised: int
    num_now: int
    difference: float
    low: float
    high: float
    broken: bool


def compare_performance(
    before: tuple[Array, Array, Array], now: tuple[Array, Array, Array], *, name: str, threshold: float, seed: int = 0
) -> list[PerformanceChange]:
    """Compare AUROC and balanced accuracy on the test people with those on people who were labeled later.

    Args:
        before: Truth, known (bool) and score of S test people and K questions, each (S, K).
        now: The same of other people.
        name: Of the questions; metrics are means over the questions with enough people in both groups.
        threshold: A question is answered with yes at or above it.
        seed: Of the bootstrap. The groups are resampled independently, since they are different people.
    """
    spreads = [
        _resampled_metrics(*values, threshold=threshold, seed=seed + index) for index, values in enumerate((before, now))
    ]
    found = []
    for measure, words in (("auroc", "AUROC"), ("balanced_accuracy", "balanced accuracy")):
        old_KR, new_KR = (spread[measure] for spread in spreads)
        defined_K = ~np.isnan(old_KR[:, 0]) & ~np.isnan(new_KR[:, 0])
        if not defined_K.any():
            continue
        old_R, new_R = (_mean_over_questions(value_KR[defined_K]) for value_KR in (old_KR, new_KR))
        num_common = min(len(old_R), len(new_R))
        difference_R = new_R[1:num_common] - old_R[1:num_common]
        interval = percentile_interval(difference_R, QUANTILES_99)
        if interval is None:
            continue
        found.append(
            PerformanceChange(
                measure=f"{name}, {words}",
                promised=float(old_R[0]),
                now=float(new_R[0]),
                num_promised=len(before[0]),
                num_now=len(now[0]),
                difference=float(new_R[0] - old_R[0]),
                low=interval[0],
                high=interval[1],
                broken=interval[1] < 0,
            )
        )
    return found


def _mean_over_questions(value_KR: Array) -> Array:
    """Return the mean of the resamples in which every question is defined."""
    return np.asarray(np.mean(value_KR[:, ~np.isnan(value_KR).any(0)], axis=0))


def _resampled_metrics(truth_SK: Array, known_SK: Array, score_SK: Array, *, threshold: float, seed: int) -> dict[str, Array]:
    """Compute metrics by question, (K, 1 + R): of all people, then of the resamples; NaN where too few people are known."""
    weight_RS = with_point_estimate(resample_weights(len(truth_SK), NUM_RESAMPLES, seed))
    found: dict[str, list[Array]] = {"auroc": [], "balanced_accuracy": []}
    for truth_S, known_S, score_S in zip(truth_SK.T, known_SK.T, score_SK.T, strict=True):
        known_and_scored_S = known_S & ~np.isnan(score_S)
        numbers = decisions(
            truth_S[known_and_scored_S],
            score_S[known_and_scored_S] >= threshold,
            score_S[known_and_scored_S],
            weight_RS[:, known_and_scored_S],
        )
        enough = min(truth_S[known_and_scored_S].sum(), (~truth_S[known_and_scored_S]).sum()) >= MIN_PER_CLASS
        for name, values in found.items():
            values.append(numbers[name] if enough else np.full(len(weight_RS), np.nan))
    return {name: np.stack(values) for name, values in found.items()}
