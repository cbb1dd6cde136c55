"""Measures from pixels: the iris, which gives a scale in mm and the center of the pupil, and the teeth between the lips."""

import functools
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vitau.measures.geometry import SIDES, Floats
from vitau.media.crops import Image

IRIS_MM: Final = 11.7
"""Horizontal diameter of the visible iris of an adult, which hardly differs between people."""
PIXEL_COLUMNS: Final = (
    *(f"iris_diameter_{side}" for side in SIDES),
    *(f"pupil_height_{side}" for side in SIDES),
    *(f"dental_show_{side}" for side in SIDES),
)
"""Diameter of the iris, and height of its center over the midpoint of the corners of the eye, in distances between the eyes.

The area of the teeth that are seen on each side of the midline is in squared distances. NaN: nothing was found."""

_EYES: Final = (slice(36, 42), slice(42, 48))
_CANTHI: Final = ([36, 39], [42, 45])
_INNER_LIPS: Final = slice(60, 68)

_PX_PER_EYE: Final = 160.0
"""Resolution of an eye's patch, px per distance between the eyes."""
_PATCH: Final = 96
_SMALLEST_EYE_PX: Final = 60.0
"""Distance between the eyes in the frame, px, below which an iris has too few pixels."""
_RADII: Final = np.arange(10.0, 20.5, 0.5)
_ARCS: Final = np.radians([*range(-35, 40, 5), *range(145, 220, 5)])
"""Directions from the center in which the edge of the iris is free of the lids."""
_STEP: Final = 1.5
_SMALLEST_EDGE: Final = 14.0
"""Rise of brightness from the iris to the white of the eye, 0 to 255, below which no iris counts as found."""
_SMALLEST_GAP: Final = 0.07
"""Lid gap below which the iris is covered too far, in distances between the eyes."""

_FEWEST_IRISES: Final = 2

_MOUTH_PX_PER_EYE: Final = 120.0
_SMALLEST_OPENING: Final = 0.03
_TEETH_BRIGHTER: Final = 1.15
_TEETH_MAX_SATURATION: Final = 90
_TEETH_MIN_VALUE: Final = 90


@dataclass(frozen=True, kw_only=True, slots=True)
class Iris:
    """An iris: center and radius in px of the patch, and the rise of brightness at its edge."""

    x: float
    y: float
    radius: float
    edge: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class EyePixels:
    """The upright gray patch (96, 96) uint8 of an eye, the gap of its lids, and the height of its corners over its center.

    Both are in distances between the eyes.
    """

    patch: NDArray[np.uint8]
    lid_gap: float
    canthus_y: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FacePixels:
    """The eyes of a frame and the areas of its teeth, each by the person's own side; empty if the face is too small."""

    eyes: tuple[EyePixels, ...] = ()
    teeth: tuple[float, float] | None = None


def read_pixels(image: Image, points: Floats) -> FacePixels:
    """Return what the measures need of the pixels of one frame; irises are searched later, see :func:`measure_pixels`.

    Args:
        image: (H, W, 3) uint8 RGB, unmirrored.
        points: (68, 2) px of the image, in the order of the person's own sides.
    """
    centers = [points[eye].mean(axis=0) for eye in _EYES]
    axis = centers[1] - centers[0]
    distance = float(np.linalg.norm(axis))
    if distance < _SMALLEST_EYE_PX:
        return FacePixels()
    eyes = []
    for number, center in enumerate(centers):
        canthi = points[_CANTHI[number]].mean(axis=0) - center
        eyes.append(
            EyePixels(
                patch=_patch(image, center, axis / distance, _PX_PER_EYE / distance, _PATCH),
                lid_gap=_gap(points, number, distance),
                canthus_y=float(-canthi[0] * axis[1] + canthi[1] * axis[0]) / distance**2,
            )
        )
    return FacePixels(eyes=tuple(eyes), teeth=_teeth(image, points, axis, distance))


def measure_pixels(pixels: FacePixels, *, with_iris: bool = True) -> dict[str, float]:
    """Return the values of ``PIXEL_COLUMNS`` for one frame.

    Args:
        pixels: of the frame.
        with_iris: search the irises too, which takes most of the time.
    """
    found = dict.fromkeys(PIXEL_COLUMNS, float("nan"))
    for side, eye in zip(SIDES, pixels.eyes, strict=False):
        iris = find_iris(eye.patch, eye.lid_gap) if with_iris else None
        if iris is not None:
            offset = (iris.y - (_PATCH - 1) / 2) / _PX_PER_EYE  # below the center of the eye
            found[f"iris_diameter_{side}"] = 2 * iris.radius / _PX_PER_EYE
            found[f"pupil_height_{side}"] = eye.canthus_y - offset
    if pixels.teeth is not None:
        found |= dict(zip((f"dental_show_{side}" for side in SIDES), pixels.teeth, strict=True))
    return found


def find_iris(patch: NDArray[np.uint8], lid_gap: float) -> Iris | None:
    """Find the iris in the gray patch (96, 96) of an eye; ``None`` if the eye is closed or shows no clear edge.

    The circle with the largest rise of brightness across its edge is taken, on the arcs beside the pupil that the lids leave
    free (an integro-differential operator, Daugman 1993). The weaker arc counts, so that a lid or a lash is no iris.
    """
    if lid_gap < _SMALLEST_GAP:
        return None
    smooth = cv2.GaussianBlur(patch, (0, 0), 1.5).astype(np.float32)
    x_C, y_C, index_RCA = _circles()
    ring_RCA = smooth.ravel()[index_RCA]
    reach = round(_STEP / 0.5)
    rise_RCA = ring_RCA[2 * reach :] - ring_RCA[: -2 * reach]
    half = rise_RCA.shape[2] // 2
    # the median of an arc ignores a lash or a reflection
    edge_RC = np.minimum(np.median(rise_RCA[:, :, :half], axis=2), np.median(rise_RCA[:, :, half:], axis=2))
    radius_index, center = np.unravel_index(int(edge_RC.argmax()), edge_RC.shape)
    edge = float(edge_RC[radius_index, center])
    if edge < _SMALLEST_EDGE or radius_index in (0, len(edge_RC) - 1):
        return None
    return Iris(x=float(x_C[center]), y=float(y_C[center]), radius=float(_RADII[0] + 0.5 * radius_index), edge=edge)


def scale_of(diameters: Floats) -> float | None:
    """Return the distance between the eyes in mm from the diameters of irises in all frames, ``None`` if they disagree.

    Args:
        diameters: in distances between the eyes, NaN where none was found.
    """
    known = diameters[np.isfinite(diameters)]
    if len(known) < _FEWEST_IRISES:
        return None
    low, middle, high = np.percentile(known, (25, 50, 75))
    return float(IRIS_MM / middle) if (high - low) / middle < 0.15 else None


@functools.cache
def _circles() -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Return x and y (C,) of the possible centers, and the pixels (R, C, A) on circles around them, as flat indices."""
    middle = (_PATCH - 1) / 2
    xs, ys = middle + np.arange(-14, 15, 2.0), middle + np.arange(-8, 9, 2.0)
    y_C, x_C = (grid.ravel() for grid in np.meshgrid(ys, xs, indexing="ij"))
    radius_R11 = np.arange(_RADII[0] - _STEP, _RADII[-1] + 2 * _STEP, 0.5)[:, None, None]
    x_RCA = np.round(x_C[:, None] + radius_R11 * np.cos(_ARCS)).astype(np.int64).clip(0, _PATCH - 1)
    y_RCA = np.round(y_C[:, None] + radius_R11 * np.sin(_ARCS)).astype(np.int64).clip(0, _PATCH - 1)
    return x_C, y_C, y_RCA * _PATCH + x_RCA


def _patch(image: Image, center: Floats, axis: Floats, scale: float, size: int) -> NDArray[np.uint8]:
    """Return an upright gray patch round a point; ``axis`` is the unit vector from eye to eye, ``scale`` px per px."""
    turn = np.array([[axis[0], axis[1]], [-axis[1], axis[0]]]) * scale
    affine = np.column_stack([turn, (size - 1) / 2 - turn @ center])
    warped = cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return cv2.cvtColor(warped, cv2.COLOR_RGB2GRAY)


def _gap(points: Floats, number: int, distance: float) -> float:
    first = 36 + 6 * number
    return (
        float(np.linalg.norm(points[first + 1 : first + 3].mean(axis=0) - points[first + 4 : first + 6].mean(axis=0)))
        / distance
    )


def _teeth(image: Image, points: Floats, axis: Floats, distance: float) -> tuple[float, float]:
    """Return the area of the teeth right and left of the midline of the lips, in squared distances between the eyes.

    Pixels between the inner lips count as teeth that are bright and hardly colored, and brighter than the lips around.
    """
    lips = points[_INNER_LIPS]
    if np.linalg.norm(lips[2] - lips[6]) < _SMALLEST_OPENING * distance:
        return 0.0, 0.0
    unit, size = axis / distance, 128
    scale = _MOUTH_PX_PER_EYE / distance
    center = lips.mean(axis=0)
    turn = np.array([[unit[0], unit[1]], [-unit[1], unit[0]]]) * scale
    affine = np.column_stack([turn, (size - 1) / 2 - turn @ center])
    patch = cv2.warpAffine(image, affine, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    hsv = cv2.cvtColor(patch, cv2.COLOR_RGB2HSV)
    inner = np.zeros((size, size), np.uint8)
    cv2.fillPoly(inner, [np.round(lips @ turn.T + affine[:, 2]).astype(np.int32)], 1)
    outer = np.zeros_like(inner)
    cv2.fillPoly(outer, [np.round(points[48:60] @ turn.T + affine[:, 2]).astype(np.int32)], 1)
    value = hsv[..., 2].astype(np.float32)
    lip = (outer > 0) & (inner == 0)
    lip_value = float(np.median(value[lip])) if lip.any() else 0.0
    teeth = (inner > 0) & (hsv[..., 1] < _TEETH_MAX_SATURATION) & (value > max(_TEETH_MIN_VALUE, _TEETH_BRIGHTER * lip_value))
    columns = teeth.sum(axis=0) / _MOUTH_PX_PER_EYE**2
    middle = round(float((turn @ ((points[62] + points[66]) / 2) + affine[:, 2])[0]))
    return float(columns[:middle].sum()), float(columns[middle:].sum())
