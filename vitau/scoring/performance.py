"""Performance of recognition on held-out people, as a report shows it: metrics, confusion matrix, and points of plots.

Decisions and scores are those that people got, so that the page describes the model as it is served.

Axes: S people, U frames, R resamples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vitau.evaluation.bootstrap import Array, defined, percentile_interval, resample_weights, with_point_estimate
from vitau.evaluation.crossvalidation.clusters import auroc, cluster, decision_rates
from vitau.evaluation.measure import NUM_RESAMPLES, calibration, decisions
from vitau.evaluation.metrics import UNDEFINED, Estimate
from vitau.evaluation.rates import ReliabilityBin, count_outcomes, reliability_bins

SEED: Final = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Kappa:
    """Cohen's κ of two raters over the regions of people that both rated."""

    one: str
    other: str
    value: Estimate
    num_cells: int
    num_people: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Performance:
    """The performance of recognition on held-out people.

    Attributes:
        by_person: metrics, each with an interval from a bootstrap over people.
        by_frame: the same with every frame counted on its own; its accuracy is the paper's measure.
        confusion: hits, misses, false alarms and correct rejections of people.
        num_frames: scored frames.
        reliability: people by their score.
        roc: corners of the ROC curve, (false-alarm rate, sensitivity) from (0, 0) to (1, 1); empty with one class.
        precision_recall: corners of the precision–recall curve, (sensitivity, PPV); empty likewise.
        kappas: of the readers and the model.
    """

    by_person: Mapping[str, Estimate]
    by_frame: Mapping[str, Estimate]
    confusion: tuple[int, int, int, int]
    num_frames: int
    reliability: Sequence[ReliabilityBin]
    roc: Sequence[tuple[float, float]]
    precision_recall: Sequence[tuple[float, float]]
    kappas: Sequence[Kappa] = ()

    @property
    def num_people(self) -> int:
        """Number of held-out people with a score."""
        return sum(self.confusion)


def measure_performance(
    truth_S: Array,
    called_S: Array,
    score_S: Array,
    frames: tuple[Array, Array],
    threshold: float,
    kappas: Sequence[Kappa] = (),
) -> Performance:
    """Measure recognition on S people.

    Args:
        truth_S: bool, who is palsied.
        called_S: bool, who was recognized as palsied.
        score_S: score of each person, 0 to 1.
        frames: person (int, 0 to S − 1) and score of each of U frames.
        threshold: a frame at or above it is called palsied.
        kappas: of the readers and the model.
    """
    person_U, score_U = frames
    weight_RS = with_point_estimate(resample_weights(len(truth_S), NUM_RESAMPLES, SEED))
    people = {**decisions(truth_S, called_S, score_S, weight_RS), **calibration(truth_S, score_S, weight_RS)}
    units = cluster(person_U, len(truth_S), truth_S[person_U], score_U >= threshold, score_U, probabilities=True)
    single = {"auroc": auroc(units, weight_RS), **decision_rates(units, weight_RS)}
    hit, miss, alarm, rest = count_outcomes(truth_S, called_S).sum(0).tolist()
    both = bool(truth_S.any() and not truth_S.all())
    return Performance(
        by_person={name: estimate(value_R) for name, value_R in people.items()},
        by_frame={name: estimate(value_R) for name, value_R in single.items()},
        confusion=(hit, miss, alarm, rest),
        num_frames=len(score_U),
        reliability=reliability_bins(truth_S, score_S),
        roc=roc_curve(truth_S, score_S) if both else (),
        precision_recall=precision_recall_curve(truth_S, score_S) if both else (),
        kappas=kappas,
    )


def estimate(value_R: Array) -> Estimate:
    """Return a metric of all people, the first value, with the interval of its resamples."""
    value = defined(value_R[0])
    return UNDEFINED if value is None else Estimate(value=value, interval=percentile_interval(value_R[1:]))


def roc_curve(truth_S: Array, score_S: Array) -> list[tuple[float, float]]:
    """Return the corners of the ROC curve, one for each distinct score, from (0, 0) to (1, 1)."""
    hits_E, called_E = _cumulated(truth_S, score_S)
    alarms_E = called_E - hits_E
    corners = zip((alarms_E / alarms_E[-1]).tolist(), (hits_E / hits_E[-1]).tolist(), strict=True)
    return [(0.0, 0.0), *corners]


def precision_recall_curve(truth_S: Array, score_S: Array) -> list[tuple[float, float]]:
    """Return sensitivity and PPV at each distinct score, from the highest."""
    hits_E, called_E = _cumulated(truth_S, score_S)
    return list(zip((hits_E / hits_E[-1]).tolist(), (hits_E / called_E).tolist(), strict=True))


def _cumulated(truth_S: Array, score_S: Array) -> tuple[Array, Array]:
    """Return the palsied, and all people, at or above each distinct score, from the highest."""
    order = np.argsort(-score_S, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score_S[order])), len(order) - 1)
    return np.cumsum(truth_S[order])[ends], (ends + 1).astype(float)
