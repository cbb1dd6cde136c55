"""Cohen's κ of two raters of regions, such as a reader and a model, with an interval from a bootstrap over people.

Krippendorff's α (:mod:`labeling.consensus.agreement`) is for any number of readers; κ is what most papers report for two.
Of ordered categories, such as severities, κ is weighted: a difference of two steps counts twice as much as one of one.

Axes: S people, A regions, M resamples, C categories.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from labeling.consensus.agreement import NUM_RESAMPLES
from vitau.evaluation.bootstrap import (
    Array,
    Interval,
    cached_resampler,
    defined,
    percentile_interval,
    ratio,
    with_point_estimate,
)
from vitau.evaluation.rates import count_outcomes, rates


@dataclass(frozen=True, kw_only=True, slots=True)
class PairKappa:
    """Cohen's κ of two raters; ``None`` where one of them always gives the same answer, or they rated nothing in common."""

    one: str
    other: str
    kappa: float | None
    interval: Interval | None
    num_cells: int
    num_subjects: int


def pair_kappas(ratings: Mapping[str, Array], *, num_resamples: int = NUM_RESAMPLES, seed: int = 0) -> list[PairKappa]:
    """Compute κ of each pair of raters over the cells that both rated.

    Args:
        ratings: rater → (S, A) float about the same people: 1 yes, 0 no, NaN without an answer.
        num_resamples: number of resamples of people.
        seed: of the resamples.
    """
    resample = cached_resampler(num_resamples, seed)
    found = []
    for one, other in combinations(ratings, 2):
        known_SA = np.isfinite(ratings[one] + ratings[other])
        both_S = known_SA.any(1)
        outcome_SA4 = count_outcomes((ratings[one] == 1).ravel(), (ratings[other] == 1).ravel()).reshape(*known_SA.shape, 4)
        counts_S4 = (outcome_SA4 & known_SA[:, :, None]).sum(1)[both_S].astype(np.float64)
        kappa_M = (
            rates(with_point_estimate(resample(len(counts_S4))) @ counts_S4)["kappa"] if both_S.any() else np.full(1, np.nan)
        )
        found.append(_pair(one, other, kappa_M, known_SA))
    return found


def weighted_kappas(
    ratings: Mapping[str, Array], num_categories: int, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> list[PairKappa]:
    """Compute κ with linear weights (J. Cohen, Psychol Bull 1968, 70: 213–220) of each pair of raters; for two, it is Cohen's.

    Args:
        ratings: rater → (S, A) float about the same people: 0 to ``num_categories`` − 1, NaN without an answer.
        num_categories: number of categories, in equal steps.
        num_resamples: number of resamples of people.
        seed: of the resamples.
    """
    resample = cached_resampler(num_resamples, seed)
    levels = np.arange(num_categories)
    step_CC = np.abs(levels[:, None] - levels[None])
    found = []
    for one, other in combinations(ratings, 2):
        known_SA = np.isfinite(ratings[one] + ratings[other])
        both_S = known_SA.any(1)
        is_one, is_other = (ratings[name][both_S][..., None] == levels for name in (one, other))
        count_SCC = np.einsum("sac,sad->scd", is_one.astype(np.float64), is_other.astype(np.float64))
        kappa_M: Array = np.full(1, np.nan)
        if both_S.any():
            weight_MS = with_point_estimate(resample(len(count_SCC)))
            kappa_M = _weighted(np.einsum("ms,scd->mcd", weight_MS, count_SCC), step_CC)
        found.append(_pair(one, other, kappa_M, known_SA))
    return found


def _pair(one: str, other: str, kappa_M: Array, known_SA: NDArray[np.bool_]) -> PairKappa:
    """Return the κ of a pair: ``kappa_M`` is the point estimate, then those of the resamples."""
    kappa = defined(kappa_M[0])
    return PairKappa(
        one=one,
        other=other,
        kappa=kappa,
        interval=None if kappa is None else percentile_interval(kappa_M[1:]),
        num_cells=int(known_SA.sum()),
        num_subjects=int(known_SA.any(1).sum()),
    )


def _weighted(count_MCC: Array, step_CC: Array) -> Array:
    """Return 1 − the observed difference relative to the one expected by chance: (M,)."""
    total_M = count_MCC.sum((1, 2))
    expected_MCC = count_MCC.sum(2)[:, :, None] * count_MCC.sum(1)[:, None]
    return 1 - ratio((count_MCC * step_CC).sum((1, 2)) * total_M, (expected_MCC * step_CC).sum((1, 2)))
