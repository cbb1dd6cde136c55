"""Bootstrap over people: resample weights, weighted ratios, percentile intervals and how they are written.

Imports numpy only, so that packages without torch can use it.

Axes: S people, R resamples, K rows of statistics.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import cache
from typing import Any, Final, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
Interval: TypeAlias = tuple[float, float]
"""Lower and upper end of a percentile interval."""

_BLOCK: Final = 4_000_000
"""Weights of a block, which are 32 MB; an hour of seconds in 1 000 resamples is one block."""
_DRAWN_AT_ONCE: Final = 16
QUANTILES_95: Final = (0.025, 0.975)
QUANTILES_99: Final = (0.005, 0.995)


def resample_weights(num_people: int, num_resamples: int, seed: int) -> Array:
    """Return how often each person occurs in each resample with replacement: (R, S) float."""
    return _draw_weights(np.random.default_rng(seed), num_people, num_resamples)


def resample_blocks(num_people: int, num_resamples: int, seed: int) -> Iterator[Array]:
    """Yield the rows of :func:`resample_weights` in blocks of at most 32 MB, or of one row.

    Use ``map``: a loop keeps each block until the next one is complete.
    """
    rng = np.random.default_rng(seed)
    block = max(1, _BLOCK // num_people)
    for start in range(0, num_resamples, block):
        yield _draw_weights(rng, num_people, min(block, num_resamples - start))


def _draw_weights(rng: np.random.Generator, num_people: int, num_resamples: int) -> Array:
    """Draw a few resamples at a time, because each comes as int64 before it is a float."""
    equal_S = np.full(num_people, 1 / num_people)
    weight_RS: Array = np.empty((num_resamples, num_people))
    for start in range(0, num_resamples, _DRAWN_AT_ONCE):
        some_RS = weight_RS[start : start + _DRAWN_AT_ONCE]
        some_RS[:] = rng.multinomial(num_people, equal_S, size=len(some_RS))
    return weight_RS


def resample_indices(num_people: int, num_resamples: int, seed: int) -> Array:
    """Return the people of each resample with replacement, by index: (R, S) int."""
    return np.random.default_rng(seed).integers(num_people, size=(num_resamples, num_people))


def cached_resampler(num_resamples: int, seed: int) -> Callable[[int], Array]:
    """Return a function from a number of people S to their resample weights, (R, S) float.

    Equal numbers of people get the same resamples. Weights are counted from :func:`resample_indices`: the random stream differs
    from that of :func:`resample_weights`, and published agreement intervals depend on it.
    """

    @cache
    def resample(num_people: int) -> Array:
        index_RS = resample_indices(num_people, num_resamples, seed) + num_people * np.arange(num_resamples)[:, None]
        counts = np.bincount(index_RS.ravel(), minlength=num_resamples * num_people)
        return counts.reshape(num_resamples, num_people).astype(np.float64)

    return resample


def with_point_estimate(weight_RS: Array) -> Array:
    """Return the weights with a first row that counts each person once; row 0 of a statistic is then its point estimate."""
    return np.vstack([np.ones(weight_RS.shape[1]), weight_RS])


def ratio(numerator: Array, denominator: Array) -> Array:
    """Return the quotient, NaN where the denominator is not positive."""
    shape = np.broadcast(numerator, denominator).shape
    quotient: Array = np.full(shape, np.nan)
    np.divide(numerator, denominator, out=quotient, where=np.broadcast_to(denominator, shape) > 0)
    return quotient


def weighted_mean(weight_RS: Array, value_S: Array) -> Array:
    """Return the mean of the values in each resample: (R,), NaN where a resample contains none of these people."""
    return ratio(weight_RS @ value_S, weight_RS.sum(1))


def mean_of_defined(value_KR: Array) -> Array:
    """Return the mean over the rows that are not NaN: (R,), NaN where all are."""
    defined_KR = ~np.isnan(value_KR)
    return ratio(np.where(defined_KR, value_KR, 0).sum(0), defined_KR.sum(0))


def defined(value: float) -> float | None:
    """Return a finite number as float, ``None`` for any other."""
    return float(value) if np.isfinite(value) else None


def percentile_interval(value_R: Array, quantiles: tuple[float, float] = QUANTILES_95) -> Interval | None:
    """Return the percentile interval of the resamples in which the value is finite, ``None`` if there are none."""
    finite = value_R[np.isfinite(value_R)]
    if not len(finite):
        return None
    low, high = np.quantile(finite, quantiles)
    return float(low), float(high)


def format_interval(interval: Sequence[float] | None, *, digits: int = 3, sign: str = "") -> str:
    """Return `` [low, high]`` with a leading space, or nothing without an interval."""
    return "" if interval is None else f" [{interval[0]:{sign}.{digits}f}, {interval[1]:{sign}.{digits}f}]"


def format_estimate(
    value: float | None,
    interval: Sequence[float] | None,
    *,
    digits: int = 3,
    sign: str = "",
    undefined: str = "-",
) -> str:
    """Return ``value [low, high]``; ``undefined`` where there is no value."""
    return undefined if value is None else f"{value:{sign}.{digits}f}{format_interval(interval, digits=digits, sign=sign)}"
