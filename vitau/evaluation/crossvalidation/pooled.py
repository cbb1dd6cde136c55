"""Metrics of pooled out-of-fold predictions: by person and by frame, with intervals over people and deviations over seeds.

Each fold's model decides by its own threshold, chosen on its own validation people. A person, or a frame, that was tested in
several folds of one seed counts once: scores and thresholds are averaged. An interval is of the mean over seeds: every
resample of people is the same for all seeds. It does not contain the variation between seeds, which ``sd`` shows.

Axes: M predictions, K questions, U units (people or frames), S people, R resamples (the first row is the point estimate).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal

import numpy as np

from vitau.evaluation.bootstrap import (
    Array,
    Interval,
    defined,
    mean_of_defined,
    percentile_interval,
    resample_weights,
    with_point_estimate,
)
from vitau.evaluation.crossvalidation.clusters import Clusters, auroc, calibration, cluster, decision_rates
from vitau.evaluation.decision import log_odds, sigmoid
from vitau.evaluation.measure import NUM_RESAMPLES, auroc_within
from vitau.evaluation.rates import ReliabilityBin, average_precision, reliability_bins
from vitau.schema import PAPER_AUS, Protocol

Level = Literal["person", "frame"]

LEVELS: Final[tuple[Level, ...]] = ("person", "frame")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class OutOfFold:
    """Predictions of one task under one protocol: one row per frame, fold and seed.

    Attributes:
        protocol: how the frames were divided.
        task: ``palsy``, ``regions``, ``side`` or ``region sides``.
        questions: names of the K yes/no questions.
        seed_M: int.
        fold_M: int.
        subject_M: pseudonyms.
        frame_M: int64, the number of the frame in the data set.
        truth_MK: bool.
        known_MK: bool, False where there is no label.
        score_MK: float.
        averages_log_odds: a person's score is that of the mean log-odds, as :mod:`vitau.evaluation.decision` describes it.
        threshold_M: float; a question is answered with yes at or above it. Regions are affected above 0.
        source_M: names of sources, for the AUROC within a source; ``None`` if all people are of one.
    """

    protocol: Protocol
    task: str
    questions: tuple[str, ...]
    seed_M: Array
    fold_M: Array
    subject_M: Array
    frame_M: Array
    truth_MK: Array
    known_MK: Array
    score_MK: Array
    threshold_M: Array
    averages_log_odds: bool = False
    source_M: Array | None = None

    @property
    def probabilities(self) -> bool:
        """True if the scores are probabilities; those of the regions are means of heatmaps."""
        return self.task != "regions"

    @property
    def people(self) -> tuple[str, ...]:
        """Return the tested people, sorted."""
        return tuple(np.unique(self.subject_M).tolist())

    @property
    def seeds(self) -> tuple[int, ...]:
        """Return the seeds, sorted."""
        return tuple(np.unique(self.seed_M).tolist())

    def mean_score(self) -> Array:
        """Return the mean score of each question over all predictions, (K,): that of a person, if all are of one person."""
        if self.averages_log_odds:
            return sigmoid(log_odds(self.score_MK).mean(0))
        return np.asarray(self.score_MK.mean(0))

    def where(self, mask_M: Array) -> "OutOfFold":
        """Return some of the predictions."""
        columns = {name: getattr(self, name) for name in self.__slots__ if name.endswith(("_M", "_MK"))}
        return replace(self, **{name: column[mask_M] for name, column in columns.items() if column is not None})


@dataclass(frozen=True, kw_only=True, slots=True)
class SeedEstimate:
    """The mean of a metric over seeds, its 95 % interval over people, and its standard deviation over seeds.

    ``value`` is ``None`` where the people leave the metric undefined, ``sd`` with one seed.
    """

    value: float | None
    interval: Interval | None = None
    sd: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pooled:
    """Metrics of one task under one protocol at one level; ``confusion`` counts hits, misses, false alarms, rejections.

    ``confusion`` is a mean over seeds. ``by_question`` is empty for a single question.
    """

    protocol: Protocol
    task: str
    level: Level
    num_people: int
    num_palsied: int
    num_frames: int
    num_folds: int
    num_seeds: int
    metrics: Mapping[str, SeedEstimate]
    by_question: Mapping[str, Mapping[str, SeedEstimate]]
    confusion: tuple[float, float, float, float]


@dataclass(frozen=True, kw_only=True, slots=True)
class Difference:
    """A metric under one protocol minus that under another, on the people that both tested."""

    task: str
    level: Level
    protocol: Protocol
    other: Protocol
    metric: str
    num_people: int
    value: float | None
    interval: Interval | None


def evaluate(found: OutOfFold, level: Level, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES) -> Pooled:
    """Compute the metrics of pooled predictions.

    Args:
        found: predictions.
        level: of the units that are counted.
        seed: of the bootstrap.
        num_resamples: number of resamples of people.
    """
    people = found.people
    weight_RS = with_point_estimate(resample_weights(len(people), num_resamples, seed))
    values = _values(found, level, people, weight_RS)
    means = {name: mean_of_defined_questions(value_NKR) for name, value_NKR in values.items()}
    if found.task == "regions":
        paper = [found.questions.index(au) for au in PAPER_AUS]
        means |= {f"{name}_of_paper_7": mean_of_defined_questions(values[name][:, paper]) for name in ("accuracy", "auroc")}
    by_question = {
        question: {name: _estimate(value_NKR[:, index]) for name, value_NKR in values.items()}
        for index, question in enumerate(found.questions)
    }
    palsied = set(found.subject_M[np.asarray(found.truth_MK.any(1))].tolist())
    return Pooled(
        protocol=found.protocol,
        task=found.task,
        level=level,
        num_people=len(people),
        num_palsied=len(palsied) if found.task == "palsy" else len(people),
        num_frames=len(np.unique(found.frame_M)),
        num_folds=max(len(np.unique(found.fold_M[found.seed_M == seed])) for seed in found.seeds),
        num_seeds=len(found.seeds),
        metrics={name: _estimate(value_NR) for name, value_NR in means.items()},
        by_question=by_question if len(found.questions) > 1 else {},
        confusion=_confusion(found, level, people),
    )


def compare(
    first: OutOfFold, second: OutOfFold, level: Level, *, seed: int = 0, num_resamples: int = NUM_RESAMPLES
) -> list[Difference]:
    """Compute the differences between two protocols on the people that both tested; they are resampled together."""
    people = tuple(sorted(set(first.people) & set(second.people)))
    if not people:
        return []
    weight_RS = with_point_estimate(resample_weights(len(people), num_resamples, seed))
    values = [
        {
            name: mean_of_defined(mean_of_defined_questions(value_NKR))
            for name, value_NKR in _values(found.where(np.isin(found.subject_M, people)), level, people, weight_RS).items()
        }
        for found in (first, second)
    ]
    return [
        Difference(
            task=first.task,
            level=level,
            protocol=first.protocol,
            other=second.protocol,
            metric=metric,
            num_people=len(people),
            value=defined(difference_R[0]),
            interval=percentile_interval(difference_R[1:]),
        )
        for metric in ("auroc", "accuracy", "balanced_accuracy")
        for difference_R in [values[0][metric] - values[1][metric]]
    ]


def reliability(found: OutOfFold) -> list[ReliabilityBin]:
    """Return the people of all seeds by their score, in bins of equal width; ``num_people`` is a mean over seeds."""
    assert found.probabilities, "the scores of the regions are not probabilities"
    units = [_units(found.where(found.seed_M == seed), "person") for seed in found.seeds]
    score_U, truth_U = (np.concatenate([getattr(unit, name)[:, 0] for unit in units]) for name in ("score_UK", "truth_UK"))
    return reliability_bins(truth_U, score_U, len(units))


def mean_of_defined_questions(value_NKR: Array) -> Array:
    """Return the mean over the questions that are defined, for each seed: (N, R)."""
    return np.stack([mean_of_defined(value_KR) for value_KR in value_NKR])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Units:
    """U people or frames of one seed."""

    subject_U: Array
    truth_UK: Array
    known_UK: Array
    score_UK: Array
    called_UK: Array
    source_U: Array | None


def _units(found: OutOfFold, level: Level) -> _Units:
    """Average the predictions of each unit of one seed over its frames and folds."""
    _, first_U, index_M = np.unique(
        found.subject_M if level == "person" else found.frame_M, return_index=True, return_inverse=True
    )
    num_U = np.bincount(index_M)
    score_MK = log_odds(found.score_MK) if found.averages_log_odds else found.score_MK.astype(np.float64)
    score_UK = np.stack([np.bincount(index_M, column) / num_U for column in score_MK.T], axis=1)
    if found.averages_log_odds:
        score_UK = sigmoid(score_UK)
    threshold_U = np.bincount(index_M, found.threshold_M) / num_U
    called_UK = score_UK > 0 if found.task == "regions" else score_UK >= threshold_U[:, None]
    return _Units(
        subject_U=found.subject_M[first_U],
        truth_UK=found.truth_MK[first_U],
        known_UK=found.known_MK[first_U],
        score_UK=score_UK,
        called_UK=called_UK,
        source_U=None if found.source_M is None else found.source_M[first_U],
    )


def _clusters(found: OutOfFold, level: Level, people: Sequence[str]) -> list[list[tuple[Clusters, _Units]]]:
    """Return the sums of each seed and question, over the same order of people, with the units behind them."""
    found_clusters = []
    for seed in found.seeds:
        units = _units(found.where(found.seed_M == seed), level)
        person_U = np.searchsorted(np.asarray(people), units.subject_U)
        questions = []
        for index in range(len(found.questions)):
            known_U = units.known_UK[:, index]
            questions.append(
                (
                    cluster(
                        person_U[known_U],
                        len(people),
                        units.truth_UK[known_U, index],
                        units.called_UK[known_U, index],
                        units.score_UK[known_U, index],
                        probabilities=found.probabilities,
                    ),
                    units,
                )
            )
        found_clusters.append(questions)
    return found_clusters


def _values(found: OutOfFold, level: Level, people: Sequence[str], weight_RS: Array) -> dict[str, Array]:
    """Compute every metric for each seed, question and resample: (N seeds, K, R)."""
    rows: dict[str, list[Array]] = {}
    for questions in _clusters(found, level, people):
        for index, (clusters, units) in enumerate(questions):
            values = {"auroc": auroc(clusters, weight_RS), **decision_rates(clusters, weight_RS)}
            if level == "person":
                known_U = units.known_UK[:, index]
                column_U = np.searchsorted(np.asarray(people), units.subject_U[known_U])
                truth_U, score_U = units.truth_UK[known_U, index], units.score_UK[known_U, index]
                values["average_precision"] = average_precision(truth_U, score_U, weight_RS[:, column_U])
                if units.source_U is not None:
                    source_U = units.source_U[known_U]
                    values["auroc_within_source"] = auroc_within(truth_U, score_U, source_U, weight_RS[:, column_U])
            if found.probabilities:
                values |= calibration(clusters, weight_RS)
            for name, value_R in values.items():
                rows.setdefault(name, []).append(value_R)
    shape = (len(found.seeds), len(found.questions), -1)
    return {name: np.stack(value).reshape(shape) for name, value in rows.items()}


def _estimate(value_NR: Array) -> SeedEstimate:
    by_seed_N = value_NR[:, 0][np.isfinite(value_NR[:, 0])]
    mean_R = mean_of_defined(value_NR)
    value = defined(mean_R[0])
    if value is None:
        return SeedEstimate(value=None)
    sd = float(by_seed_N.std(ddof=1)) if len(by_seed_N) > 1 else None
    return SeedEstimate(value=value, interval=percentile_interval(mean_R[1:]), sd=sd)


def _confusion(found: OutOfFold, level: Level, people: Sequence[str]) -> tuple[float, float, float, float]:
    """Return hits, misses, false alarms and rejections of all questions together, as means over seeds."""
    counts_N4 = np.stack(
        [sum(clusters.counts_S4.sum(0) for clusters, _ in questions) for questions in _clusters(found, level, people)]
    )
    hit, miss, alarm, rest = counts_N4.mean(0).tolist()
    return hit, miss, alarm, rest
