"""The pattern of the forehead: does the weak side raise its brow, as in a central palsy, or not, as in a peripheral one?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from vitau.measures.results import Measure, Task
from vitau.schema import Side

SPARED_FROM: Final = 0.6
"""Excursion of the weak side's brow over that of the other side, from which the forehead counts as spared."""
WEAK_BELOW: Final = 0.75
"""Excursion of the lower face's weak side over that of the other side, below which the lower face counts as weak."""
CAVEAT: Final = (
    "The pattern is a hint from movement alone. A mild or recovering peripheral palsy may spare the forehead too. "
    "The pattern never excludes a stroke."
)

_LOWER: Final = (
    (Task.SMILE, "lip_corner_height"),
    (Task.SMILE, "lip_corner_lateral"),
    (Task.SNARL, "nasal_wing_height"),
    (Task.SNARL, "upper_lip_height"),
    (Task.LOWER_TEETH, "lower_lip_height"),
    (Task.LIP_PUCKER, "lip_corner_lateral"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """The pattern in words, and whether the forehead is spared, ``None`` if the movements do not say."""

    name: str
    forehead_spared: bool | None


def forehead_pattern(measures: Sequence[Measure], side: Side | None) -> Pattern:
    """Return the pattern of the forehead on the weak side.

    ``central``: the lower face is weak on that side, and its brow rises. ``peripheral``: its brow does not rise. ``even``:
    neither is weak. ``unknown``: the brows were not raised, or nothing is measurable.

    Args:
        measures: excursions of all exercises.
        side: the side that moves less.
    """
    found = {(measure.task, measure.measure): measure for measure in measures if measure.kind == "excursion"}
    brow = _share(found.get((Task.BROW_RAISE, "brow_height")), side)
    lower = [share for key in _LOWER if (share := _share(found.get(key), side)) is not None]
    if brow is None or side is None:
        return Pattern(name="unknown", forehead_spared=None)
    if brow < SPARED_FROM:
        return Pattern(name="peripheral", forehead_spared=False)
    if lower and float(np.min(lower)) < WEAK_BELOW:
        return Pattern(name="central", forehead_spared=True)
    return Pattern(name="even", forehead_spared=None)


def _share(measure: Measure | None, side: Side | None) -> float | None:
    """Return the excursion of the weak side over that of the other side; ``None`` if neither has moved."""
    if measure is None or measure.ratio is None or measure.right is None or measure.left is None:
        return None
    weak, other = (measure.right, measure.left) if side is Side.RIGHT else (measure.left, measure.right)
    return max(weak, 0.0) / other if other > 0 else None
