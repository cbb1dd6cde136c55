"""How far the blind readers agree, with intervals from a bootstrap over subjects.

*Raw agreement* is the share of pairs of answers to one region of one person that are equal: with two readers, the share of
cells. *Krippendorff's α* = 1 − D_o / D_e sets the disagreement that is observed against the one expected by chance: 1 is
perfect, 0 is chance. "Cannot tell" is missing, not a third kind of answer. From K. Krippendorff, *Content Analysis*, 4th ed.,
2018, ch. 12, for two kinds: with n₀ "no" and n₁ "yes" among the m ≥ 2 answers to a cell, the cell adds to the coincidences

    o_kk = n_k (n_k − 1) / (m − 1),   o_01 = n₀ n₁ / (m − 1),   and   α = 1 − (N − 1) Σo_01 / (N_0 N_1),

where N_k = Σo_kk + Σo_01 and N = N_0 + N_1. A person's coincidences are the sum of their cells', so a resample of people is a
weighting of rows, and a thousand of them are one matrix product. The answers of one person hang together; that is why people
are drawn, not cells.

Axes: S subjects, R readers, A regions, M resamples, K = (o_00, o_11, o_01, equal pairs, pairs).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Final

import numpy as np

from labeling.consensus.standing_answers import StandingAnswers, week_of
from vitau.evaluation.bootstrap import Array, Interval, cached_resampler, defined, percentile_interval, ratio
from vitau.schema import AU, AUS

NUM_RESAMPLES: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """How far some readers agree about some regions of some people.

    ``num_pairs`` pairs of answers about ``num_subjects`` people were compared. ``raw`` is the share of equal ones and absent
    without a pair; ``alpha`` is Krippendorff's and absent where only one kind of answer was given. Intervals are absent where
    none was asked for, or nothing to resample.
    """

    raw: float | None
    alpha: float | None
    num_pairs: int
    num_subjects: int
    raw_interval: Interval | None = None
    alpha_interval: Interval | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AgreementReport:
    """Agreement of all readers, by region, by pair of readers (``a / b``), and by week.

    The week is the calendar week in which a cell got its last answer; cells with an answer of unknown time are in none.
    """

    overall: Agreement
    by_au: Mapping[AU, Agreement]
    by_pair: Mapping[str, Agreement]
    by_week: Mapping[str, Agreement]


def agreement_report(
    words: StandingAnswers, readers: Sequence[str], *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> AgreementReport:
    """Measure how far ``readers`` agree: in all, by region, by pair, by week."""
    answer_SRA, week_SA = answers(words, readers), _weeks(words, readers)
    cell_SAK = coincidences(answer_SRA)
    resample = cached_resampler(num_resamples, seed)

    def measured(cell_SAK: Array) -> Agreement:
        return measure(cell_SAK.sum(1), resample)

    pairs = {
        f"{readers[one]} / {readers[other]}": measured(coincidences(answer_SRA[:, [one, other]]))
        for one, other in combinations(range(len(readers)), 2)
    }
    weeks = sorted({week for week in week_SA.ravel() if week is not None})
    return AgreementReport(
        overall=measured(cell_SAK),
        by_au={au: measured(cell_SAK[:, [index]]) for index, au in enumerate(AUS)},
        by_pair=pairs,
        by_week={week: measured(cell_SAK * (week_SA == week)[:, :, None]) for week in weeks},
    )


def answers(words: StandingAnswers, readers: Sequence[str]) -> Array:
    """Lay the blind answers out as (S, R, A) float: 1 yes, 0 no, NaN where a reader cannot tell or has not answered."""
    told = [
        [[row.affected if (row := voices.get(reader, {}).get(au)) else None for au in AUS] for reader in readers]
        for voices in words.blind.values()
    ]
    return np.array(told, dtype=np.float64).reshape(len(told), len(readers), len(AUS))  # None becomes NaN


def coincidences(answer_SRA: Array) -> Array:
    """Count each cell's coincidences and pairs: (S, A, K), zero where fewer than two answered."""
    yes_SA, num_SA = np.nansum(answer_SRA, axis=1), np.isfinite(answer_SRA).sum(axis=1)
    no_SA = num_SA - yes_SA
    equal_SA = (yes_SA * (yes_SA - 1) + no_SA * (no_SA - 1)) / 2
    cell_KSA = [no_SA * (no_SA - 1), yes_SA * (yes_SA - 1), no_SA * yes_SA] / np.maximum(num_SA - 1, 1)
    return np.stack([*cell_KSA, equal_SA, num_SA * (num_SA - 1) / 2], axis=-1)


def measure(person_SK: Array, resample: Callable[[int], Array] | None = None) -> Agreement:
    """Turn people's coincidences into their agreement, with intervals if ``resample`` gives weightings (M, S) of S people."""
    person_SK = person_SK[person_SK[:, -1] > 0]
    raw, alpha = _raw_and_alpha(person_SK.sum(0)[None])
    intervals: tuple[Interval | None, Interval | None] = None, None
    if resample is not None and len(person_SK):
        raw_M, alpha_M = _raw_and_alpha(resample(len(person_SK)) @ person_SK)
        intervals = percentile_interval(raw_M), percentile_interval(alpha_M)
    return Agreement(
        raw=defined(raw[0]),
        alpha=defined(alpha[0]),
        num_pairs=round(person_SK[:, -1].sum()),
        num_subjects=len(person_SK),
        raw_interval=intervals[0],
        alpha_interval=intervals[1],
    )


def _raw_and_alpha(total_MK: Array) -> tuple[Array, Array]:
    same_no_M, same_yes_M, differ_M, equal_M, pairs_M = total_MK.T
    no_M, yes_M = same_no_M + differ_M, same_yes_M + differ_M
    return ratio(equal_M, pairs_M), 1 - ratio((no_M + yes_M - 1) * differ_M, no_M * yes_M)


def _weeks(words: StandingAnswers, readers: Sequence[str]) -> Array:
    """The week of the last answer to each cell: (S, A) object, absent where an answer's time is."""

    def week(voices: Mapping[str, Mapping[AU, Any]], au: AU) -> str | None:
        weeks = [week_of(voices[reader][au].answered_at) for reader in readers if au in voices.get(reader, {})]
        known = [each for each in weeks if each is not None]
        return max(known) if known and len(known) == len(weeks) else None

    told = [[week(voices, au) for au in AUS] for voices in words.blind.values()]
    return np.array(told, dtype=object).reshape(len(told), len(AUS))
