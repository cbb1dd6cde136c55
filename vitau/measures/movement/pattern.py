"""The pattern of the forehead: does the weak side raise its brow, as in a central palsy, or not, as in a peripheral one?"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vitau.measures.geometry import SIDES, Floats
from vitau.schema import Side

LOSS: Final = 0.6
"""Log ratio of the brows' rise, other side over weak side, that alone makes the forehead weak: the weak brow rises by 55 %."""
DROOP: Final = 0.06
"""Height of the weak brow under the other one at rest, in distances between the eyes, that alone makes the forehead weak."""
WEAK_FROM: Final = 0.65
"""Sum of the log ratios of ``LOWER_FACE`` from which the lower face is weak."""
ASYMMETRIC_FROM: Final = 0.13
"""Score of asymmetry from which a weak forehead is stated; 9 of 10 drawn people without a palsy are below."""
LOWER_FACE: Final = ("lip_corner_height", "upper_lip_height", "lower_lip_height", "nasal_wing_lift")
"""Measures whose movements show a weak lower face."""
CAVEAT: Final = (
    "The pattern is a hint from movement alone. A mild or recovering peripheral palsy may spare the forehead too. "
    "The pattern never excludes a stroke."
)

_BROWS: Final = ("inner_brow_height", "outer_brow_height")
_NOISE: Final = 0.03  # added to both movements, so that the ratio of two tiny ones is near 1


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """The pattern in words, and whether the forehead is spared, ``None`` if the movements do not show it."""

    name: str
    forehead_spared: bool | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Brows:
    """The brows of a person, right less left: positive values mean a weak right side.

    ``losses`` are the log ratios of the rise of the left over the right side, of the inner and of the outer brow, as means over
    repetitions. ``droop`` is how far the right brow lies under the left one at rest, in distances between the eyes.
    """

    losses: tuple[float, ...]
    droop: float


def compare_brows(columns: Mapping[str, Floats], levels: Mapping[str, float], runs: Sequence[tuple[int, int]]) -> Brows | None:
    """Compare the two brows where they rise most, and at rest; ``None`` if they were not raised.

    Args:
        columns: measures of the usable frames, with those of ``WORKING_MEASURES``.
        levels: level at rest of each measure.
        runs: first and last frame of each brow raise.
    """
    if not runs:
        return None
    names = [(f"{name}_{SIDES[0]}", f"{name}_{SIDES[1]}") for name in _BROWS]
    moved_M2N = np.stack([[columns[name] - levels[name] for name in pair] for pair in names])
    losses_RM = [_losses(moved_M2N[..., first : last + 1]) for first, last in runs]
    droop = float(np.mean([levels[left] - levels[right] for right, left in names]))
    return Brows(losses=tuple(np.mean(losses_RM, axis=0).tolist()), droop=droop)


def _losses(moved_M2N: Floats) -> Floats:
    """Return the log ratio of the left over the right rise in one brow raise, (M,).

    It is the smaller of two, that of the peak and that of the whole raise, so that one misplaced point makes no palsy.
    """
    rise_N = np.maximum(moved_M2N.mean(axis=(0, 1)), 0)
    weights_2N = np.stack([np.arange(len(rise_N)) == rise_N.argmax(), rise_N / max(rise_N.sum(), _NOISE)])
    sides_M22 = np.maximum(moved_M2N @ weights_2N.T, 0) + _NOISE  # part of the brow, side, weighting
    losses_M2 = np.log(sides_M22[:, 1] / sides_M22[:, 0])
    smaller: Floats = np.where(np.abs(losses_M2[:, 0]) < np.abs(losses_M2[:, 1]), losses_M2[:, 0], losses_M2[:, 1])
    return smaller


def forehead_pattern(
    brows: Brows | None, lower_ratios: Mapping[str, float], side: Side | None, asymmetry: float | None
) -> Pattern:
    """Return the pattern of the forehead on the weak side.

    The forehead is weak where ``loss / LOSS + droop / DROOP`` exceeds 1: a brow that rises a little less and droops a little
    counts like one that does either clearly. The loss is that of the inner or of the outer brow, whichever is larger, because
    the palsy of a part leaves the other part moving.

    ``central``: the lower face is weak and the forehead is not. ``peripheral``: the forehead is weak, and the person's
    movement asymmetric. ``even``: neither. ``unknown``: the brows were not raised, or nothing is measurable. The limits were
    chosen on drawn people.

    Args:
        brows: from :func:`compare_brows`.
        lower_ratios: log ratios of ``LOWER_FACE``, left over right, as :func:`vitau.measures.asymmetry.movement_ratios` gives.
        side: the side that moves less.
        asymmetry: score of the person, from 0.
    """
    if brows is None or side is None or asymmetry is None:
        return Pattern(name="unknown", forehead_spared=None)
    sign = 1 if side is Side.RIGHT else -1
    loss, droop = max(sign * value for value in brows.losses), sign * brows.droop
    if max(loss, 0.0) / LOSS + max(droop, 0.0) / DROOP > 1:
        stated = asymmetry >= ASYMMETRIC_FROM
        return Pattern(name="peripheral", forehead_spared=False) if stated else Pattern(name="even", forehead_spared=None)
    if math.fsum(max(sign * ratio, 0.0) for ratio in lower_ratios.values()) > WEAK_FROM:
        return Pattern(name="central", forehead_spared=True)
    return Pattern(name="even", forehead_spared=None)
