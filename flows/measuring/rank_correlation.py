"""Spearman's rank correlation of two values of each person, with an interval from a bootstrap over people.

ρ is Pearson's correlation of the ranks; equal values share the mean of their ranks (C. Spearman, *American Journal of
Psychology* 1904, 15: 72–101).

Axes: S people, R resamples.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from vitau.evaluation.bootstrap import Array, Interval, defined, percentile_interval, ratio, resample_indices

NUM_RESAMPLES: Final = 1000


@dataclass(frozen=True, kw_only=True, slots=True)
class RankCorrelation:
    """Spearman's ρ over ``num_people`` with its 95 % interval; both are ``None`` if a value is the same for everyone."""

    rho: float | None
    interval: Interval | None
    num_people: int


def rank_correlation(
    x_S: npt.ArrayLike, y_S: npt.ArrayLike, *, num_resamples: int = NUM_RESAMPLES, seed: int = 0
) -> RankCorrelation:
    """Compute Spearman's ρ of two finite values of each person.

    Raises:
        ValueError: the two have different numbers of people, or fewer than two.
    """
    x_S, y_S = np.asarray(x_S, dtype=np.float64), np.asarray(y_S, dtype=np.float64)
    if x_S.shape != y_S.shape or x_S.ndim != 1 or len(x_S) < 2:
        raise ValueError(f"values of shapes {x_S.shape} and {y_S.shape}; give two values of each of two people or more")
    num_people = len(x_S)
    rho = defined(_rho(x_S[None], y_S[None])[0])
    index_RS = resample_indices(num_people, num_resamples, seed)
    interval = None if rho is None else percentile_interval(_rho(x_S[index_RS], y_S[index_RS]))
    return RankCorrelation(rho=rho, interval=interval, num_people=num_people)


def _rho(x_RS: Array, y_RS: Array) -> Array:
    """Return ρ of each row, NaN where one of the values is constant."""
    from scipy.stats import rankdata

    x_RS, y_RS = (rankdata(value_RS, axis=1) - (value_RS.shape[1] + 1) / 2 for value_RS in (x_RS, y_RS))
    return ratio((x_RS * y_RS).sum(1), np.sqrt((x_RS**2).sum(1) * (y_RS**2).sum(1)))
