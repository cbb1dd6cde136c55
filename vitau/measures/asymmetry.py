"""Movement asymmetry of one person: a score without a trained model.

Per measure and side the amount of movement is the mean of two numbers, so that noise of one frame counts little:

* the 5–95 % range over all frames;
* the movement together with the side that moves more: the slope of this side on that side, times that side's range.

With the amounts R and L the log ratio is log((L + ε) / (R + ε)) · m / (m + g), with m the larger of the two. It is positive
where the right side is weaker. ε is the range that noise alone makes, and the gate g keeps the ratio of two tiny movements from
counting. The score is the mean of the absolute log ratios of ``MOVED``.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

MOVED: Final = ("brow_height", "lid_gap", "lip_corner_height", "upper_lip_height", "lower_lip_height")
"""Measures whose movement is compared, as columns ``<measure>_right`` and ``<measure>_left``.

The lateral position of the lip corner is not among them: a turn of the head moves its two sides in opposite directions.
"""

Columns = Mapping[str, NDArray[np.floating[Any]]]

_NOISE: Final = 0.03
_GATE: Final = 0.02
_SMOOTHED_S: Final = 0.12
_FEWEST_FRAMES: Final = 4


def movement_asymmetry(columns: Columns, time_s: NDArray[np.floating[Any]] | None = None) -> float | None:
    """Compute the score of one person from all frames: 0 is equal movement. ``None`` if too few frames are measurable.

    Args:
        columns: per-frame measures by the person's own side, in eye distances, NaN where a frame is not measurable; those of
            ``MOVED`` are read, and a measure that is absent is left out.
        time_s: time of each frame; the measures are then averaged over a quarter of a second.
    """
    ratios = movement_ratios(columns, time_s, measures=MOVED)
    return float(np.mean([abs(ratio) for ratio in ratios.values()])) if ratios else None


def movement_ratios(
    columns: Columns, time_s: NDArray[np.floating[Any]] | None = None, *, measures: Iterable[str]
) -> dict[str, float]:
    """Compute the gated log ratio of each of some measures with enough frames, from the arguments of the score."""
    ratios: dict[str, float] = {}
    for measure in measures:
        right, left = (columns.get(f"{measure}_{side}") for side in ("right", "left"))
        if right is None or left is None:
            continue
        both_2N = np.stack([right, left]).astype(np.float64)
        finite = np.isfinite(both_2N).all(axis=0)
        if finite.sum() >= _FEWEST_FRAMES:
            both_2N = both_2N[:, finite]
            ratios[measure] = _log_ratio(both_2N if time_s is None else _smooth(both_2N, np.asarray(time_s)[finite]))
    return ratios


def _log_ratio(both_2N: NDArray[np.float64]) -> float:
    right, left = _amounts(both_2N)
    largest = max(right, left)
    return math.log((left + _NOISE) / (right + _NOISE)) * largest / (largest + _GATE)


def _amounts(both_2N: NDArray[np.float64]) -> tuple[float, float]:
    """Return the amount of movement of each side."""
    low_2, high_2 = np.percentile(both_2N, (5, 95), axis=1)
    range_2 = high_2 - low_2
    lead = int(np.argmax(range_2))
    away_2N = both_2N - both_2N.mean(axis=1, keepdims=True)
    power = float(away_2N[lead] @ away_2N[lead])
    if power == 0:
        return 0.0, 0.0
    together_2 = np.abs(away_2N @ away_2N[lead]) / power * range_2[lead]
    right, left = (range_2 + together_2) / 2
    return float(right), float(left)


def _smooth(both_2N: NDArray[np.float64], time_s: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Average each frame with those that are at most ``_SMOOTHED_S`` away in time, never with another clip or photo."""
    step = np.diff(time_s, prepend=time_s[:1])
    elapsed = np.cumsum(np.where(step > 0, step, 1.0))  # time starts again with each clip and photo
    first = np.searchsorted(elapsed, elapsed - _SMOOTHED_S, "left")
    last = np.searchsorted(elapsed, elapsed + _SMOOTHED_S, "right")
    sums = np.concatenate([np.zeros((2, 1)), np.cumsum(both_2N, axis=1)], axis=1)
    return (sums[:, last] - sums[:, first]) / (last - first)
