"""Agreement of blind readers, with intervals from a bootstrap over subjects.

*Raw agreement* is the share of equal answers among all pairs of answers to one region of one person. *Krippendorff's α* is 1 −
D_o / D_e, the observed disagreement relative to the one expected by chance: 1 is perfect, 0 is chance. "Cannot tell" is a
missing value, not a third category. For two categories (K. Krippendorff, *Content Analysis*, 4th ed., 2018, ch. 12), a cell
with n₀ "no" and n₁ "yes" among m ≥ 2 answers adds to the coincidences

    o_kk = n_k (n_k − 1) / (m − 1),   o_01 = n₀ n₁ / (m − 1),   and   α = 1 − (N − 1) Σo_01 / (N_0 N_1),

where N_k = Σo_kk + Σo_01 and N = N_0 + N_1. A person's coincidences are the sum over their cells. A resample of people is
therefore a weighting of rows, and all resamples are one matrix product. People are resampled instead of cells, because the
answers about one person are correlated.

Axes: S subjects, R readers, A regions, M resamples, K = (o_00, o_11, o_01, equal pairs, pairs).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from labeling.consensus.standing_answers import ReaderAnswer, StandingAnswers, week_of
from vitau.evaluation.bootstrap import Array, Interval, cached_resampler, defined, percentile_interval, ratio
from vitau.schema import AU, AUS, LedgerRow

NUM_RESAMPLES: Final = 1000
WITH_SUGGESTION: Final = "with a suggestion"
WITHOUT_SUGGESTION: Final = "without one"
WITH_MEASURES: Final = "with measures"
WITHOUT_MEASURES: Final = "without them"


@dataclass(frozen=True, kw_only=True, slots=True)
class Agreement:
    """Agreement over ``num_pairs`` pairs of answers about ``num_subjects`` people.

    ``raw`` is the share of equal pairs, ``None`` without a pair. ``alpha`` is Krippendorff's, ``None`` if all answers are the
    same. Intervals are ``None`` if there are no resamples or no pairs.
    """

    raw: float | None
    alpha: float | None
    num_pairs: int
    num_subjects: int
    raw_interval: Interval | None = None
    alpha_interval: Interval | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AgreementReport:
    """Agreement of all readers, by region, by pair of readers (``a / b``), by week, and by what the page showed.

    The week is the calendar week of the last answer to a cell. A cell with an answer of unknown time is in no week.
    ``by_suggestion`` compares answers that were given with a model's score on the page with each other, and answers without one
    with each other; a pair of one and the other is in neither. ``by_measures`` does the same for measures on the page.
    """

    overall: Agreement
    by_au: Mapping[AU, Agreement]
    by_pair: Mapping[str, Agreement]
    by_week: Mapping[str, Agreement]
    by_suggestion: Mapping[str, Agreement]
    by_measures: Mapping[str, Agreement]


def agreement_report(
    standing: StandingAnswers, readers: Sequence[str], *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> AgreementReport:
    """Compute the agreement of ``readers``: overall, by region, by pair, by week, and by what the page showed."""
    answer_SRA, week_SA = answer_array(standing, readers), _weeks(standing, readers)
    suggested_SRA = _shown(standing, readers, lambda row: row.suggestion is not None)
    measures_SRA = _shown(standing, readers, lambda row: row.measures_shown is not None)
    cell_SAK = coincidences(answer_SRA)
    resample = cached_resampler(num_resamples, seed)

    def measured(cell_SAK: Array) -> Agreement:
        return measure(cell_SAK.sum(1), resample)

    def among(kept_SRA: Array) -> Agreement:
        return measured(coincidences(np.where(kept_SRA, answer_SRA, np.nan)))

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
        by_suggestion={WITH_SUGGESTION: among(suggested_SRA), WITHOUT_SUGGESTION: among(~suggested_SRA)},
        by_measures={WITH_MEASURES: among(measures_SRA), WITHOUT_MEASURES: among(~measures_SRA)},
    )


def answer_array(standing: StandingAnswers, readers: Sequence[str]) -> Array:
    """Return the blind answers as (S, R, A) float: 1 yes, 0 no, NaN if a reader cannot tell or has not answered."""
    affected = [
        [[row.affected if (row := answers.get(reader, {}).get(au)) else None for au in AUS] for reader in readers]
        for answers in standing.blind.values()
    ]
    return np.array(affected, dtype=np.float64).reshape(len(affected), len(readers), len(AUS))  # None becomes NaN


def _shown(standing: StandingAnswers, readers: Sequence[str], has: Callable[[LedgerRow], bool]) -> Array:
    """Return the answers whose page showed something beside the pictures: (S, R, A) bool."""
    shown = [
        [[au in (answer := answers.get(reader, {})) and has(answer[au]) for au in AUS] for reader in readers]
        for answers in standing.blind.values()
    ]
    return np.array(shown, dtype=bool).reshape(len(shown), len(readers), len(AUS))


def coincidences(answer_SRA: Array) -> Array:
    """Count the coincidences and pairs of each cell: (S, A, K), zero with fewer than two answers."""
    yes_SA, num_SA = np.nansum(answer_SRA, axis=1), np.isfinite(answer_SRA).sum(axis=1)
    no_SA = num_SA - yes_SA
    equal_SA = (yes_SA * (yes_SA - 1) + no_SA * (no_SA - 1)) / 2
    cell_KSA = [no_SA * (no_SA - 1), yes_SA * (yes_SA - 1), no_SA * yes_SA] / np.maximum(num_SA - 1, 1)
    return np.stack([*cell_KSA, equal_SA, num_SA * (num_SA - 1) / 2], axis=-1)


def measure(person_SK: Array, resample: Callable[[int], Array] | None = None) -> Agreement:
    """Compute agreement from coincidences by person; with ``resample``, a function from S to weights (M, S), also intervals."""
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


def _weeks(standing: StandingAnswers, readers: Sequence[str]) -> Array:
    """Return the week of the last answer to each cell: (S, A) object, ``None`` if the time of an answer is unknown."""

    def last_week(answers: Mapping[str, ReaderAnswer], au: AU) -> str | None:
        weeks = [week_of(answers[reader][au].answered_at) for reader in readers if au in answers.get(reader, {})]
        known = [week for week in weeks if week is not None]
        return max(known) if known and len(known) == len(weeks) else None

    weeks = [[last_week(answers, au) for au in AUS] for answers in standing.blind.values()]
    return np.array(weeks, dtype=object).reshape(len(weeks), len(AUS))
