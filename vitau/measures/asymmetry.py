"""Movement asymmetry of one person: a score, the weaker side, and its probability, without a trained model.

Per measure the range of movement of each side is its 5–95 % range over the frames. A side that moves less than the other has
a positive log ratio. A gate keeps the ratio of two tiny movements from counting.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vitau.schema import Side

MOVED: Final = ("brow_height", "lid_gap", "lip_corner_height", "lip_corner_lateral")
"""Measures whose movement is compared, as columns ``<measure>_right`` and ``<measure>_left``."""

Columns = Mapping[str, NDArray[np.floating[Any]]]

_NOISE: Final = {"brow_height": 0.025, "lid_gap": 0.025, "lip_corner_height": 0.025, "lip_corner_lateral": 0.025}
"""Range that noise alone makes, in eye distances; added to both sides."""
_GATE: Final = 0.05
"""Range at which a movement counts half, in eye distances."""
_SIDE_SLOPE: Final = 6.0
"""Slope of the logistic function from the mean signed log ratio to the probability of the side."""
_FEWEST_FRAMES: Final = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Asymmetry:
    """How differently the two sides of a face move.

    ``score`` is 0 for equal movement and larger for more asymmetric movement. ``side`` is the person's own side that moves
    less, and ``side_probability``, 0.5 to 1, the probability that it is right, if one side is palsied at all. ``log_ratios``
    holds per measure the log of the left side's range over the right side's: positive where the right side is weaker.
    """

    score: float
    side: Side
    side_probability: float
    log_ratios: Mapping[str, float]


def movement_asymmetry(columns: Columns) -> Asymmetry | None:
    """Compute the movement asymmetry of one person from all frames, or ``None`` if too few frames are measurable.

    Args:
        columns: per-frame measures by the person's own side, in eye distances, NaN where a frame is not measurable; those of
            ``MOVED`` are read, and a measure that is absent is left out.
    """
    ratios: dict[str, float] = {}
    weights: list[float] = []
    for measure in MOVED:
        pair = [columns.get(f"{measure}_{side}") for side in ("right", "left")]
        if pair[0] is None or pair[1] is None:
            continue
        both = np.stack([np.asarray(series, dtype=np.float64) for series in pair])
        both = both[:, np.isfinite(both).all(axis=0)]
        if both.shape[1] < _FEWEST_FRAMES:
            continue
        low, high = np.percentile(both, (5, 95), axis=1)
        right, left = high - low + _NOISE[measure]
        ratios[measure] = float(np.log(left / right))
        largest = max(right, left) - _NOISE[measure]
        weights.append(float(largest / (largest + _GATE)))
    if not ratios:
        return None
    signed = np.array(list(ratios.values())) * weights
    lean = float(signed.mean())
    return Asymmetry(
        score=float(np.abs(signed).mean()),
        side=Side.RIGHT if lean >= 0 else Side.LEFT,
        side_probability=float(1 / (1 + np.exp(-_SIDE_SLOPE * abs(lean)))),
        log_ratios=ratios,
    )
