"""The pattern of the forehead: is it weak, as in a peripheral palsy, or spared, as in a central one?"""

from dataclasses import dataclass
from typing import Final

from vitau.measures.weakness.model import Weakness

WEAK_FROM: Final = 0.5
"""Probability from which the forehead or the lower face is weak."""
ASYMMETRIC_FROM: Final = 0.13
"""Score of asymmetry from which a weak forehead is stated; 9 of 10 drawn people without a palsy are below."""
SIDE_FROM: Final = 0.75
"""Probability of the side from which a pattern is stated: it is about the weak side, and needs one."""
CAVEAT: Final = (
    "The pattern is a hint from movement and posture alone. A mild or recovering peripheral palsy may spare the forehead too. "
    "The pattern never excludes a stroke."
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Pattern:
    """The pattern in words, and whether the forehead is spared, ``None`` if the movements do not show it."""

    name: str
    forehead_spared: bool | None


def forehead_pattern(weakness: Weakness, asymmetry: float, *, brows_raised: bool) -> Pattern:
    """Return the pattern of the forehead on the weak side.

    ``central``: the lower face is weak and the forehead is not. ``peripheral``: the forehead is weak, and the person's
    movement asymmetric. ``even``: neither, or no side is weak for certain. ``unknown``: the brows were not raised.

    Args:
        weakness: of the person.
        asymmetry: score of the person, from 0.
        brows_raised: the recording shows a brow raise.
    """
    if not brows_raised:
        return Pattern(name="unknown", forehead_spared=None)
    if weakness.side_probability >= SIDE_FROM:
        if weakness.forehead >= WEAK_FROM and asymmetry >= ASYMMETRIC_FROM:
            return Pattern(name="peripheral", forehead_spared=False)
        if weakness.forehead < WEAK_FROM <= weakness.lower_face:
            return Pattern(name="central", forehead_spared=True)
    return Pattern(name="even", forehead_spared=None)
