"""Geometry of the face from 68 landmarks: measures per frame and side, in distances between the centers of the eyes.

All definitions start from upright coordinates: roll is removed, so that the line through the centers of the eyes is
horizontal, and the distance of the centers is 1. x points to the person's left, y down, and the origin lies between the eyes.
Heights are positive upwards. Sides are the person's own. Landmarks have dlib's numbers, from 0.
"""

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vitau.schema import MIRROR, NUM_LANDMARKS, Side

Floats: TypeAlias = NDArray[np.float64]

SIDES: Final = (Side.RIGHT, Side.LEFT)
"""The order of a pair of values."""

SIDED_MEASURES: Final[Mapping[str, str]] = {
    "brow_height": "height of the brow (mean of 17–21, 22–26) over the center of the eye (mean of 36–41, 42–47)",
    "lid_gap": "height of the palpebral fissure: mean of 37, 38 over the mean of 41, 40; mean of 43, 44 over that of 47, 46",
    "lip_corner_height": "height of the lip corner (48, 54) over the subnasal point (33); it is negative",
    "lip_corner_lateral": "lateral distance of the lip corner (48, 54) from the subnasal point (33), outwards",
    "upper_margin_reflex": "MRD1: height of the upper lid (mean of 37, 38; 43, 44) over the center of the pupil",
    "lower_margin_reflex": "MRD2: depth of the lower lid (mean of 41, 40; 47, 46) under the center of the pupil",
    "nasal_wing_height": "height of the nasal wing (31, 35) over the root of the nose (27); it is negative",
    "upper_lip_height": "height of the upper lip (50, 52) over the subnasal point (33); it is negative",
    "lower_lip_height": "height of the lower lip (58, 56) over the subnasal point (33); it is negative",
}
"""Measures with a value per side, in columns such as ``brow_height_right``, and their definitions."""

CENTRAL_MEASURES: Final[Mapping[str, str]] = {
    "philtrum_deviation": "lateral position of Cupid's bow (51) from the midline of the eyes, positive to the person's left",
    "mouth_opening": "height of the gap between the inner lips (62 over 66)",
    "chin_height": "height of the chin (8) over the subnasal point (33); it is negative",
}
"""Measures of the midline, without a side."""

WORKING_MEASURES: Final[Mapping[str, str]] = {
    "nasal_wing_lift": "height of the nasal wing (31, 35) over the subnasal point (33)",
    "inner_brow_height": "height of the head of the brow (21, 22) over the corners of the eye (36, 39; 42, 45)",
    "middle_brow_height": "height of the middle of the brow (19, 24) over the corners of the eye",
    "outer_brow_height": "height of the tail of the brow (17, 26) over the corners of the eye",
    "brow_bend": "height of the brow between its middle and its tail (18, 25) over the mean of both (17, 19; 24, 26)",
    "upper_lid_slope": "height of the upper lid near the temple (37, 44) over that near the nose (38, 43)",
    "lower_lid_height": "height of the lower lid (mean of 41, 40; 47, 46) over the corners of the eye; it is negative",
    "nasal_wing_under_eye": "height of the nasal wing (31, 35) over the corners of the eye; it is negative",
    "lip_corner_under_eye": "height of the lip corner (48, 54) over the corners of the eye; it is negative",
    "upper_lip_under_eye": "height of the upper lip (50, 52) over the corners of the eye; it is negative",
    "lower_lip_under_eye": "height of the lower lip (58, 56) over the corners of the eye; it is negative",
    "lips_apart": "height of the inner upper lip over the inner lower lip (61 over 67; 63 over 65)",
}
"""Measures by side that name exercises and find the weak half, and are in no table.

All their points are refined. The error of ``nasal_wing_lift`` is less than half that of ``nasal_wing_height``, whose root of
the nose (27) is dlib's.
"""

_RIGHT_EYE: Final = slice(36, 42)
_LEFT_EYE: Final = slice(42, 48)
_BROWS: Final = (slice(17, 22), slice(22, 27))
_EYES: Final = (_RIGHT_EYE, _LEFT_EYE)
_UPPER_LIDS: Final = ([37, 38], [43, 44])
_LOWER_LIDS: Final = ([41, 40], [47, 46])
_CANTHI: Final = ([36, 39], [42, 45])
_CORNERS: Final = (48, 54)
_WINGS: Final = (31, 35)
_UPPER_LIPS: Final = (50, 52)
_LOWER_LIPS: Final = (58, 56)
_OUTWARDS: Final = (-1.0, 1.0)
_WORKING_POINTS: Final[Mapping[str, tuple[list[int], list[int]]]] = {
    "nasal_wing_lift": ([31], [33]),
    "inner_brow_height": ([21], [36, 39]),
    "middle_brow_height": ([19], [36, 39]),
    "outer_brow_height": ([17], [36, 39]),
    "brow_bend": ([18], [17, 19]),
    "upper_lid_slope": ([37], [38]),
    "lower_lid_height": ([41, 40], [36, 39]),
    "nasal_wing_under_eye": ([31], [36, 39]),
    "lip_corner_under_eye": ([48], [36, 39]),
    "upper_lip_under_eye": ([50], [36, 39]),
    "lower_lip_under_eye": ([58], [36, 39]),
    "lips_apart": ([61], [67]),
}
# landmarks of the person's right: the upper ones, and those under them
_SUBNASAL, _NASAL_ROOT, _BOW, _CHIN, _INNER_TOP, _INNER_BOTTOM = 33, 27, 51, 8, 62, 66


def own_points(points: NDArray[Any], *, mirrored: bool) -> Floats:
    """Return landmarks as of an unmirrored picture, in the order of the person's own sides.

    Args:
        points: (68, 2) or (N, 68, 2) px, in dlib's order as seen in the picture.
        mirrored: the picture is a mirror image: the sides change their numbers, and x changes its sign.
    """
    own: Floats = np.asarray(points, dtype=np.float64)
    return own[..., list(MIRROR), :] * np.array((-1.0, 1.0)) if mirrored else own


def upright(points: NDArray[Any]) -> Floats:
    """Return landmarks (N, 68, 2) in upright coordinates, in distances between the centers of the eyes.

    Args:
        points: (N, 68, 2) px of an unmirrored picture; see :func:`own_points`.

    Raises:
        ValueError: not 68 points, or the eyes of a frame coincide.
    """
    points_NK2 = np.asarray(points, dtype=np.float64)
    if points_NK2.ndim != 3 or points_NK2.shape[1:] != (NUM_LANDMARKS, 2):
        raise ValueError(f"landmarks have the shape {points_NK2.shape}; give (N, {NUM_LANDMARKS}, 2)")
    right_N2, left_N2 = points_NK2[:, _RIGHT_EYE].mean(axis=1), points_NK2[:, _LEFT_EYE].mean(axis=1)
    axis_N2 = left_N2 - right_N2
    distance_N = np.linalg.norm(axis_N2, axis=1)
    if not (distance_N > 0).all():
        raise ValueError("the eyes of these landmarks coincide; leave this frame out")
    cos_N, sin_N = (axis_N2 / distance_N[:, None]).T
    offset_NK2 = points_NK2 - ((right_N2 + left_N2) / 2)[:, None]
    x_NK = offset_NK2[..., 0] * cos_N[:, None] + offset_NK2[..., 1] * sin_N[:, None]
    y_NK = -offset_NK2[..., 0] * sin_N[:, None] + offset_NK2[..., 1] * cos_N[:, None]
    face_NK2: Floats = np.stack([x_NK, y_NK], axis=-1) / distance_N[:, None, None]
    return face_NK2


def measure_points(points: NDArray[Any]) -> dict[str, Floats]:
    """Compute the measures of :func:`column_names` and of :func:`working_names`, each (N,).

    The margin reflex distances start from the midpoint of the corners of the eye (36, 39; 42, 45). Where the center of the
    pupil is known, :func:`with_pupils` moves them there.

    Args:
        points: (N, 68, 2) px of an unmirrored picture, in the order of the person's own sides.

    Raises:
        ValueError: not 68 points, or the eyes of a frame coincide.
    """
    face_NK2 = upright(points)
    x_NK, y_NK = face_NK2[..., 0], face_NK2[..., 1]
    columns: dict[str, Floats] = {}
    for number, side in enumerate(SIDES):
        upper_N, lower_N = y_NK[:, _UPPER_LIDS[number]].mean(axis=1), y_NK[:, _LOWER_LIDS[number]].mean(axis=1)
        canthi_N, subnasal_N = y_NK[:, _CANTHI[number]].mean(axis=1), y_NK[:, _SUBNASAL]
        corner = _CORNERS[number]
        columns |= {
            f"brow_height_{side}": y_NK[:, _EYES[number]].mean(axis=1) - y_NK[:, _BROWS[number]].mean(axis=1),
            f"lid_gap_{side}": lower_N - upper_N,
            f"lip_corner_height_{side}": subnasal_N - y_NK[:, corner],
            f"lip_corner_lateral_{side}": _OUTWARDS[number] * (x_NK[:, corner] - x_NK[:, _SUBNASAL]),
            f"upper_margin_reflex_{side}": canthi_N - upper_N,
            f"lower_margin_reflex_{side}": lower_N - canthi_N,
            f"nasal_wing_height_{side}": y_NK[:, _NASAL_ROOT] - y_NK[:, _WINGS[number]],
            f"upper_lip_height_{side}": subnasal_N - y_NK[:, _UPPER_LIPS[number]],
            f"lower_lip_height_{side}": subnasal_N - y_NK[:, _LOWER_LIPS[number]],
        }
        for name, heights in _WORKING_POINTS.items():
            over_N, under_N = (y_NK[:, [MIRROR[k] for k in points] if number else points].mean(axis=1) for points in heights)
            columns[f"{name}_{side}"] = under_N - over_N
    columns |= {
        "philtrum_deviation": x_NK[:, _BOW],
        "mouth_opening": y_NK[:, _INNER_BOTTOM] - y_NK[:, _INNER_TOP],
        "chin_height": y_NK[:, _SUBNASAL] - y_NK[:, _CHIN],
    }
    return {name: columns[name] for name in (*column_names(), *working_names())}


def with_pupils(columns: Mapping[str, Floats], pupil_heights: Mapping[Side, float]) -> dict[str, Floats]:
    """Return columns whose margin reflex distances start from the pupil.

    Args:
        columns: as :func:`measure_points` returns them.
        pupil_heights: per side, height of the center of the pupil over the midpoint of the corners of the eye, in distances
            between the eyes. A side without one stays as it is.
    """
    moved = dict(columns)
    for side, height in pupil_heights.items():
        moved[f"upper_margin_reflex_{side}"] = columns[f"upper_margin_reflex_{side}"] - height
        moved[f"lower_margin_reflex_{side}"] = columns[f"lower_margin_reflex_{side}"] + height
    return moved


def column_names() -> tuple[str, ...]:
    """Return the names of the columns of measures: right and left of each sided measure, then the central ones."""
    return (*(f"{name}_{side}" for name in SIDED_MEASURES for side in SIDES), *CENTRAL_MEASURES)


def working_names() -> tuple[str, ...]:
    """Return the names of the columns of ``WORKING_MEASURES``, right and left of each."""
    return tuple(f"{name}_{side}" for name in WORKING_MEASURES for side in SIDES)
