"""How each reader reads: speed, drift, bias, "cannot tell", and whether a suggestion on the page draws the answer.

Everything is about what stands in the ledger (an answer corrected later counts as corrected). Where a reader is compared with
the labels, remember that the reader helped to make them: agreement with the labels is higher than with the truth. Intervals are
95 %, from a bootstrap over the reader's subjects.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TypeAlias

import numpy as np

from labeling.consensus.agreement import NUM_RESAMPLES
from labeling.consensus.standing_answers import StandingAnswers, Voice, newest, week_of
from vitau.evaluation.bootstrap import Array, Interval, cached_resampler, defined, percentile_interval, ratio
from vitau.schema import AU, AUS, LedgerRow, RegionLabels, Stage

Resample: TypeAlias = Callable[[int], Array]


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    """A share, or a difference of shares, over ``num_cells`` answers; absent where there are none."""

    value: float | None
    interval: Interval | None
    num_cells: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Speed:
    """Seconds that the page was open per person: the median, and what 9 in 10 people took at most."""

    median_s: float
    p90_s: float
    num_subjects: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Drift:
    """Agreement with the labels in the first and in the second half of the people read, and second less first."""

    first: Estimate
    second: Estimate
    difference: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class Anchoring:
    """How often the answer is the suggestion. Above 0 in ``difference``, the suggestion draws.

    ``shown`` is of this reader, who saw it; ``blind`` of readers who answered the same cells without seeing it; ``difference``
    is the first less the second over the cells that both answered.
    """

    shown: Estimate
    blind: Estimate
    difference: Estimate


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderReport:
    """One reader. ``bias`` is, by region, the rate of "affected" less the labels' on the same people; above 0 sees more palsy.

    ``cannot_tell`` is a share of the answers. ``speed`` is absent where no answer was timed, ``anchoring`` where no suggestion
    was shown; ``speed_by_week`` goes by the calendar week of the answer.
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
    words: StandingAnswers, labels: Iterable[RegionLabels], *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> list[ReaderReport]:
    """Report on every reader of the ledger, blind readers by name and then the adjudicator.

    Args:
        words: what stands in the ledger.
        labels: the consensus to compare with.
        num_resamples: of the readers' people, for the intervals.
        seed: the same one gives the same intervals.
    """
    voices: dict[tuple[Stage, str], dict[str, Voice]] = defaultdict(dict)
    for subject, heard in words.blind.items():
        for reader, voice in heard.items():
            voices[Stage.READER, reader][subject] = voice
    for subject, voice in words.rulings.items():
        voices[Stage.ADJUDICATION, newest(voice).reader][subject] = voice
    answers = {answer.subject: answer.affected for answer in labels}
    resample = cached_resampler(num_resamples, seed)
    order = sorted(voices, key=lambda key: (key[0] is Stage.ADJUDICATION, key[1]))
    return [_report(reader, stage, voices[stage, reader], words, answers, resample) for stage, reader in order]


def _report(
    reader: str,
    stage: Stage,
    voices: Mapping[str, Voice],
    words: StandingAnswers,
    labels: Mapping[str, Mapping[AU, bool]],
    resample: Resample,
) -> ReaderReport:
    read = sorted(voices.values(), key=lambda voice: (newest(voice).answered_at, newest(voice).subject))
    told = [row.affected for voice in read for row in voice.values()]
    timed = [(row.lead_time_s, week_of(row.answered_at)) for row in map(newest, read) if row.lead_time_s is not None]
    weeks = sorted({week for _, week in timed if week is not None})
    said_SA, label_SA = _answers(read), _labels(read, labels)
    return ReaderReport(
        reader=reader,
        stage=stage,
        num_subjects=len(read),
        speed=_speed([time_s for time_s, _ in timed]),
        speed_by_week={each: speed for each in weeks if (speed := _speed([time_s for time_s, week in timed if week == each]))},
        cannot_tell=told.count(None) / len(told) if told else None,
        agreement=_share(said_SA == label_SA, np.isfinite(said_SA + label_SA), resample),
        drift=_drift(said_SA == label_SA, np.isfinite(said_SA + label_SA), resample),
        bias={
            au: _share((said_SA - label_SA)[:, [a]], np.isfinite(said_SA + label_SA)[:, [a]], resample)
            for a, au in enumerate(AUS)
        },
        anchoring=_anchoring(read, words, resample),
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


def _anchoring(read: Sequence[Voice], words: StandingAnswers, resample: Resample) -> Anchoring | None:
    """Compare answers with the suggestions on the page: a score above 0 suggests "affected"."""
    suggested_SA = np.array([[_suggestion(voice.get(au)) for au in AUS] for voice in read], dtype=np.float64)
    if not np.isfinite(suggested_SA).any():
        return None
    shown_SA = _answers(read) == (suggested_SA > 0)
    by_reader = np.isfinite(_answers(read) + suggested_SA)
    others = [_blind_answers(words.blind.get(newest(voice).subject, {})) for voice in read]
    yes_SA, num_SA = np.moveaxis(np.array(others, dtype=np.float64), -1, 0) * np.isfinite(suggested_SA)
    same_SA = np.where(suggested_SA > 0, yes_SA, num_SA - yes_SA)
    both = by_reader & (num_SA > 0)
    return Anchoring(
        shown=_share(shown_SA, by_reader, resample),
        blind=_share(same_SA, num_SA, resample),
        difference=_share(shown_SA - ratio(same_SA, num_SA), both, resample),
    )


def _share(count_SA: Array, known_SA: Array, resample: Resample) -> Estimate:
    """What is counted per cell over the cells that are known, and its interval."""
    total = float(np.asarray(known_SA, dtype=np.float64).sum())
    if not total:
        return Estimate(value=None, interval=None, num_cells=0)
    value = float(np.where(known_SA > 0, count_SA, 0).sum()) / total
    return Estimate(
        value=defined(value), interval=percentile_interval(_shares(count_SA, known_SA, resample)), num_cells=round(total)
    )


def _shares(count_SA: Array, known_SA: Array, resample: Resample) -> Array:
    """The same share in every resample of the people with a known cell: (M,)."""
    above_S, below_S = np.where(known_SA > 0, count_SA, 0).sum(1), np.asarray(known_SA, dtype=np.float64).sum(1)
    above_S, below_S = above_S[below_S > 0], below_S[below_S > 0]
    weight_MS = resample(len(below_S))
    return ratio(weight_MS @ above_S, weight_MS @ below_S)


def _answers(read: Sequence[Voice]) -> Array:
    """(S, A) float: 1 yes, 0 no, NaN where the reader cannot tell or did not answer."""
    told = [[row.affected if (row := voice.get(au)) else None for au in AUS] for voice in read]
    return np.array(told, dtype=np.float64).reshape(len(told), len(AUS))


def _labels(read: Sequence[Voice], labels: Mapping[str, Mapping[AU, bool]]) -> Array:
    told = [[labels.get(newest(voice).subject, {}).get(au) for au in AUS] for voice in read]
    return np.array(told, dtype=np.float64).reshape(len(told), len(AUS))


def _blind_answers(heard: Mapping[str, Voice]) -> list[tuple[int, int]]:
    """Per region, how many said yes, and how many could tell, of the blind readers whose page made no suggestion."""
    found = []
    for au in AUS:
        rows = [voice[au] for voice in heard.values() if au in voice]
        told = [row.affected for row in rows if row.suggestion is None and row.affected is not None]
        found.append((sum(told), len(told)))
    return found


def _suggestion(row: LedgerRow | None) -> float | None:
    return None if row is None else row.suggestion
