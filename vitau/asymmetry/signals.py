"""Heights and distances of landmarks by side and frame, the signals whose movement is compared.

Axes: N frames, K landmarks, 2 sides (the person's right, then left).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from numpy.typing import NDArray

from vitau.measures.geometry import SIDES, Floats, upright
from vitau.schema import MIRROR

_EYE: Final = range(36, 42)
_CANTHI: Final = (36, 39)
_ROOT: Final = (27,)
_SUBNASAL: Final = (33,)

_HEIGHTS: Final[Mapping[str, tuple[Sequence[int], Sequence[int]]]] = {
    "brow_inner": ((20, 21), _EYE),
    "brow_outer": ((17, 18), _EYE),
    "lid_gap": ((37, 38), (41, 40)),
    "lower_lid": ((41, 40), _CANTHI),
    "nasal_wing": ((31,), _ROOT),
    "lip_corner": ((48,), _SUBNASAL),
    "mouth_below_eye": ((48,), _CANTHI),
    "upper_lip": ((50,), _SUBNASAL),
    "lower_lip": ((58,), _SUBNASAL),
    "lips_apart": ((61,), (67,)),
}
"""Signals that are the height of some landmarks above others, by their numbers on the person's right."""
_CORNER: Final = 48

SIGNALS: Final = (*_HEIGHTS, "lip_corner_aside")
"""Names of all signals; ``lip_corner_aside`` is the lateral distance of the lip corner from the subnasal point."""


def sided_signals(points_NK2: NDArray[Any]) -> dict[str, Floats]:
    """Return the signals as columns ``<name>_right`` and ``<name>_left``, (N,) each, in distances between the eyes.

    Args:
        points_NK2: (N, 68, 2) px of an unmirrored picture.

    Raises:
        ValueError: not 68 points, or the eyes of a frame coincide.
    """
    face_NK2 = upright(points_NK2)
    columns: dict[str, Floats] = {}
    for number, side in enumerate(SIDES):
        for name, (above, below) in _HEIGHTS.items():
            upper_N, lower_N = (face_NK2[:, own(points, number), 1].mean(axis=1) for points in (above, below))
            columns[f"{name}_{side}"] = lower_N - upper_N
        aside_N = face_NK2[:, own([_CORNER], number)[0], 0] - face_NK2[:, _SUBNASAL[0], 0]
        columns[f"lip_corner_aside_{side}"] = aside_N if number else -aside_N
    return columns


def signal_landmarks(name: str) -> Sequence[int]:
    """Return the landmarks on the person's right whose movement a signal is."""
    return _HEIGHTS[name][0] if name in _HEIGHTS else (_CORNER,)


def own(points: Sequence[int], side: int) -> list[int]:
    """Return landmarks of the person's right (0) as those of the same parts on the right (0) or the left (1)."""
    return [point if side == 0 else MIRROR[point] for point in points]
