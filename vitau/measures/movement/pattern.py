"""The pattern of the forehead: does the weak side raise its brow, as in a central palsy, or not, as in a peripheral one?"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from vitau.measures.results import Measure, Task
from vitau.schema import Side

SPARED_FROM: Final = 0.8
"""Share of the other side's excursion that the weak side's brow reaches, from which the forehead counts as spared."""
DROOP: Final = 0.03
"""Distance of the weak side's brow at rest below the other one, in distances between the eyes, from which it droops."""
WEAK_BELOW: Final = 0.9
"""Share of the other side's excursion below which the lower face of the weak side counts as weak."""
ASYMMETRIC_FROM: Final = 0.13
"""Score of asymmetry from which a pattern is stated; 9 of 10 drawn people without a palsy are below."""
CAVEAT: Final = (
    "The pattern is a hint from movement alone. A mild or recovering peripheral palsy may spare the forehead too. "
    "The pattern never excludes a stroke."
)

_NOISE: Final = 0.01  # added to both excursions, so that the share of two tiny ones is near 1
_LOWER: Final = (
    (Task.SMILE, "lip_corner_height"),
    (Task.SMILE, "lip_corner_lateral"),
    (Task.SNARL, "nasal_wing_height"),
    (Task.SNARL, "upper_lip_height"),
    (Task.LOWER_TEETH, "lower_lip_height"),
    (Task.JAW_OPENING, "lower_lip_height"),
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """The pattern in words, and whether the forehead is spared, ``None`` if the movements do not show it."""

    name: str
    forehead_spared: bool | None


def forehead_pattern(measures: Sequence[Measure], side: Side | None, asymmetry: float | None) -> Pattern:
    """Return the pattern of the forehead on the weak side.

    ``central``: the lower face is weak on that side, its brow rises as the other one does, and does not droop at rest.
    ``peripheral``: its brow rises less, or droops. ``even``: neither is weak. ``unknown``: the brows were not raised, or
    nothing is measurable. The thresholds were chosen on the exact points of drawn people.

    Args:
        measures: levels at rest and excursions of all exercises.
        side: the side that moves less.
        asymmetry: score of the person; below ``ASYMMETRIC_FROM`` the two sides move evenly.
    """
    found = {(measure.task, measure.measure): measure for measure in measures if measure.kind in ("excursion", "rest")}
    brow = _share(found.get((Task.BROW_RAISE, "brow_height")), side)
    if brow is None or side is None or asymmetry is None:
        return Pattern(name="unknown", forehead_spared=None)
    if asymmetry < ASYMMETRIC_FROM:
        return Pattern(name="even", forehead_spared=None)
    lower = [share for key in _LOWER if (share := _share(found.get(key), side)) is not None]
    if brow < SPARED_FROM or _droop(found.get((Task.REST, "brow_height")), side) > DROOP:
        return Pattern(name="peripheral", forehead_spared=False)
    if lower and min(lower) < WEAK_BELOW:
        return Pattern(name="central", forehead_spared=True)
    return Pattern(name="even", forehead_spared=None)


def _share(measure: Measure | None, side: Side | None) -> float | None:
    """Return the excursion of the weak side over that of the other side."""
    if measure is None or measure.right is None or measure.left is None:
        return None
    weak, other = (measure.right, measure.left) if side is Side.RIGHT else (measure.left, measure.right)
    return (max(weak, 0.0) + _NOISE) / (max(other, 0.0) + _NOISE)


def _droop(rest: Measure | None, side: Side) -> float:
    """Return how far the brow of the weak side is below the other one at rest."""
    if rest is None or rest.difference is None:
        return 0.0
    return -rest.difference if side is Side.RIGHT else rest.difference
