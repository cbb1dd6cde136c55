"""Cohen's κ of two raters of regions, such as a reader and a model, with an interval from a bootstrap over people.

Krippendorff's α (:mod:`labeling.consensus.agreement`) is for any number of readers; κ is what most papers report for two.

Axes: S people, A regions, M resamples.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from labeling.consensus.agreement import NUM_RESAMPLES
from vitau.evaluation.bootstrap import Array, Interval, cached_resampler, defined, percentile_interval, with_point_estimate
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
        kappa = defined(kappa_M[0])
        found.append(
            PairKappa(
                one=one,
                other=other,
                kappa=kappa,
                interval=None if kappa is None else percentile_interval(kappa_M[1:]),
                num_cells=int(known_SA.sum()),
                num_subjects=int(both_S.sum()),
            )
        )
    return found
