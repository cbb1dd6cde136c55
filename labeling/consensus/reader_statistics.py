"""Statistics of each reader: speed, drift, bias, "cannot tell", and anchoring to a suggestion on the page.

All statistics are about standing answers: a corrected answer counts as corrected. Readers contribute to the labels with which
they are compared, so that their agreement with the labels is higher than with the truth. Intervals are 95 % intervals from a
bootstrap over the reader's subjects.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

import numpy as np

from labeling.consensus.agreement import NUM_RESAMPLES
from labeling.consensus.standing_answers import ReaderAnswer, StandingAnswers, newest_row, week_of
from vitau.evaluation.bootstrap import Array, Interval, cached_resampler, defined, percentile_interval, ratio
from vitau.schema import AU, AUS, LedgerRow, RegionLabels, Stage

Resample: TypeAlias = Callable[[int], Array]


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A share, or a difference of shares, over ``num_cells`` answers; ``None`` without answers."""

    value: float | None
    interval: Interval | None
    num_cells: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """Seconds that the page was open per person: median and 90th percentile."""

    median_s: float
    p90_s: float
    num_subjects: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """Agreement with the labels in the first and the second half of the people read, and the second minus the first."""

    first: Estimate
    second: Estimate
    difference: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchoring:
    """Share of answers equal to the suggestion; a ``difference`` above 0 means that readers follow suggestions.

    ``shown`` is the share of this reader, who saw the suggestion. ``blind`` is that of readers who answered the same cells
    without it. ``difference`` is the first minus the second, over the cells that both answered.
    """

    shown: Estimate
    blind: Estimate
    difference: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderReport:
    """Statistics of one reader.

    ``bias`` is, by region, the reader's rate of "affected" minus the rate of the labels of the same people. ``cannot_tell`` is
    a share of the answers. ``speed`` is ``None`` without timed answers, ``anchoring`` without suggestions. ``speed_by_week``
    uses the calendar week of the answer.
    """

    reader: str
    stage: Stage
    num_subjects: int
    speed: Speed | None
    speed_by_week: Mapping[str, Speed]
    cannot_tell: float | None
    agreement: Estimate
    drift: Drift
    bias: Mapping[AU, Estimate]
    anchoring: Anchoring | None


def reader_reports(
    standing: StandingAnswers, labels: Iterable[RegionLabels], *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> list[ReaderReport]:
    """Compute the statistics of every reader: blind readers by name, then the adjudicator.

    Args:
        standing: the standing answers of the ledger.
        labels: the consensus to compare with.
        num_resamples: number of resamples for the intervals.
        seed: of the resamples.
    """
    answers: dict[tuple[Stage, str], dict[str, ReaderAnswer]] = defaultdict(dict)
    for subject, by_reader in standing.blind.items():
        for reader, answer in by_reader.items():
            answers[Stage.READER, reader][subject] = answer
    for subject, answer in standing.rulings.items():
        answers[Stage.ADJUDICATION, newest_row(answer).reader][subject] = answer
    affected = {label.case: label.affected for label in labels}
    resample = cached_resampler(num_resamples, seed)
    order = sorted(answers, key=lambda key: (key[0] is Stage.ADJUDICATION, key[1]))
    return [_report(reader, stage, answers[stage, reader], standing, affected, resample) for stage, reader in order]


def _report(
    reader: str,
    stage: Stage,
    answers: Mapping[str, ReaderAnswer],
    standing: StandingAnswers,
    labels: Mapping[str, Mapping[AU, bool]],
    resample: Resample,
) -> ReaderReport:
    read = sorted(answers.values(), key=lambda answer: (newest_row(answer).answered_at, newest_row(answer).subject))
    affected = [row.affected for answer in read for row in answer.values()]
    timed = [(row.lead_time_s, week_of(row.answered_at)) for row in map(newest_row, read) if row.lead_time_s is not None]
    weeks = sorted({week for _, week in timed if week is not None})
    answer_SA, label_SA = _answers(read), _labels(read, labels)
    equal_SA, known_SA = answer_SA == label_SA, np.isfinite(answer_SA + label_SA)
    return ReaderReport(
        reader=reader,
        stage=stage,
        num_subjects=len(read),
        speed=_speed([time_s for time_s, _ in timed]),
        speed_by_week={
            week: speed for week in weeks if (speed := _speed([time_s for time_s, answered in timed if answered == week]))
        },
        cannot_tell=affected.count(None) / len(affected) if affected else None,
        agreement=_share(equal_SA, known_SA, resample),
        drift=_drift(equal_SA, known_SA, resample),
        bias={au: _share((answer_SA - label_SA)[:, [index]], known_SA[:, [index]], resample) for index, au in enumerate(AUS)},
        anchoring=_anchoring(read, standing, resample),
    )


def _speed(times_s: Sequence[float]) -> Speed | None:
    if not times_s:
        return None
    return Speed(median_s=median(times_s), p90_s=float(np.quantile(times_s, 0.9)), num_subjects=len(times_s))


def _drift(hit_SA: Array, known_SA: Array, resample: Resample) -> Drift:
    half = len(hit_SA) // 2
    hits, knowns = (hit_SA[:half], hit_SA[half:]), (known_SA[:half], known_SA[half:])
    first, second = (_share(hit, known, resample) for hit, known in zip(hits, knowns, strict=True))
    value, spread = None, None
    if first.value is not None and second.value is not None:
        value = second.value - first.value
        earlier_M, later_M = (_shares(hit, known, resample) for hit, known in zip(hits, knowns, strict=True))
        # the halves are different people, so their resamples are paired at random
        spread = percentile_interval(later_M - np.random.default_rng(len(hit_SA)).permutation(earlier_M))
    difference = Estimate(value=value, interval=spread, num_cells=first.num_cells + second.num_cells)
    return Drift(first=first, second=second, difference=difference)


def _anchoring(read: Sequence[ReaderAnswer], standing: StandingAnswers, resample: Resample) -> Anchoring | None:
    """Compare answers with the suggestions on the page: a score above 0 suggests "affected"."""
    suggested_SA = np.array([[_suggestion(answer.get(au)) for au in AUS] for answer in read], dtype=np.float64)
    if not np.isfinite(suggested_SA).any():
        return None
    shown_SA = _answers(read) == (suggested_SA > 0)
    by_reader = np.isfinite(_answers(read) + suggested_SA)
    others = [_count_blind(standing.blind.get(newest_row(answer).case, {})) for answer in read]
    yes_SA, num_SA = np.moveaxis(np.array(others, dtype=np.float64), -1, 0) * np.isfinite(suggested_SA)
    same_SA = np.where(suggested_SA > 0, yes_SA, num_SA - yes_SA)
    both = by_reader & (num_SA > 0)
    return Anchoring(
        shown=_share(shown_SA, by_reader, resample),
        blind=_share(same_SA, num_SA, resample),
        difference=_share(shown_SA - ratio(same_SA, num_SA), both, resample),
    )


def _share(count_SA: Array, known_SA: Array, resample: Resample) -> Estimate:
    """Return the sum of ``count_SA`` over the known cells divided by their number, with its interval."""
    total = float(np.asarray(known_SA, dtype=np.float64).sum())
    if not total:
        return Estimate(value=None, interval=None, num_cells=0)
    value = float(np.where(known_SA > 0, count_SA, 0).sum()) / total
    return Estimate(
        value=defined(value), interval=percentile_interval(_shares(count_SA, known_SA, resample)), num_cells=round(total)
    )


def _shares(count_SA: Array, known_SA: Array, resample: Resample) -> Array:
    """Return the share in each resample of the people with a known cell: (M,)."""
    above_S, below_S = np.where(known_SA > 0, count_SA, 0).sum(1), np.asarray(known_SA, dtype=np.float64).sum(1)
    above_S, below_S = above_S[below_S > 0], below_S[below_S > 0]
    weight_MS = resample(len(below_S))
    return ratio(weight_MS @ above_S, weight_MS @ below_S)


def _answers(read: Sequence[ReaderAnswer]) -> Array:
    """Return answers as (S, A) float: 1 yes, 0 no, NaN if the reader cannot tell or did not answer."""
    affected = [[row.affected if (row := answer.get(au)) else None for au in AUS] for answer in read]
    return np.array(affected, dtype=np.float64).reshape(len(affected), len(AUS))


def _labels(read: Sequence[ReaderAnswer], labels: Mapping[str, Mapping[AU, bool]]) -> Array:
    affected = [[labels.get(newest_row(answer).case, {}).get(au) for au in AUS] for answer in read]
    return np.array(affected, dtype=np.float64).reshape(len(affected), len(AUS))


def _count_blind(by_reader: Mapping[str, ReaderAnswer]) -> list[tuple[int, int]]:
    """Count, by region, the blind readers without a suggestion who answered yes, and those who could tell."""
    counts = []
    for au in AUS:
        rows = [answer[au] for answer in by_reader.values() if au in answer]
        known = [row.affected for row in rows if row.suggestion is None and row.affected is not None]
        counts.append((sum(known), len(known)))
    return counts


def _suggestion(row: LedgerRow | None) -> float | None:
    return None if row is None else row.suggestion
