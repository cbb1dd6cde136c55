"""Signs of weakness: by how much the right half of a face moves less or hangs lower than the left.

All signs change their sign in the mirror image, so that no symmetric trait of a look can be among them. They are positive where
the right half is the weak one, but for some single signs that help to tell two causes of another sign apart.
"""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np

from vitau.measures.asymmetry import movement_ratios
from vitau.measures.geometry import SIDES, Floats
from vitau.schema import AU

_MOVEMENTS: Final = (
    "inner_brow_height",
    "middle_brow_height",
    "outer_brow_height",
    "upper_margin_reflex",
    "nasal_wing_lift",
    "lip_corner_height",
    "upper_lip_height",
    "lower_lip_height",
    "lips_apart",
)
_POSITIONS: Final = (
    "inner_brow_height",
    "middle_brow_height",
    "outer_brow_height",
    "brow_bend",
    "upper_lid_slope",
    "lower_lid_height",
    "nasal_wing_under_eye",
    "lip_corner_under_eye",
    "upper_lip_under_eye",
    "lower_lip_under_eye",
)

SIGNS: Final[tuple[str, ...]] = (*(f"movement.{name}" for name in _MOVEMENTS), *(f"position.{name}" for name in _POSITIONS))
"""All signs, in the order of every array axis over signs.

``movement`` is the log ratio of the two sides' movement, left over right, ``position`` the mean height of the left over
the right side, in distances between the eyes.
"""

SIDE_SIGNS: Final[Sequence[str]] = tuple(sign for sign in SIGNS if sign != "position.brow_bend")
FOREHEAD_SIGNS: Final[Mapping[AU, Sequence[str]]] = {
    AU.AU1: ("movement.inner_brow_height", "position.inner_brow_height"),
    AU.AU2: (
        "movement.outer_brow_height",
        "position.outer_brow_height",
        "position.upper_lid_slope",
        "position.lower_lid_height",
    ),
    AU.AU4: ("movement.middle_brow_height", "position.middle_brow_height", "position.brow_bend"),
}
"""The signs of each region of the frontal branch. A weak AU6 changes the slope of the lid too, and lowers the lower lid."""
LOWER_SIGNS: Final[Sequence[str]] = (
    "movement.nasal_wing_lift",
    "movement.lip_corner_height",
    "movement.upper_lip_height",
    "movement.lower_lip_height",
    "movement.lips_apart",
    "position.nasal_wing_under_eye",
    "position.lip_corner_under_eye",
    "position.upper_lip_under_eye",
    "position.lower_lip_under_eye",
)


def measure_signs(columns: Mapping[str, Floats], time_s: Floats | None = None) -> Floats | None:
    """Return the signs (S,) of one person from all usable frames, or ``None`` if they are too few to compare movements.

    Args:
        columns: measures by side with those of ``WORKING_MEASURES``, (N,) each.
        time_s: (N,), s; movements are then averaged over a quarter of a second. A step back starts another part.
    """
    moved = movement_ratios(columns, time_s, measures=_MOVEMENTS)
    if len(moved) < len(_MOVEMENTS):
        return None
    right, left = SIDES
    lower = [float(np.mean(columns[f"{name}_{left}"] - columns[f"{name}_{right}"])) for name in _POSITIONS]
    return np.array([*moved.values(), *lower])
