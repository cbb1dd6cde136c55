"""Landmarks as shapes that compare: where a face lies, how large it is and who it is are taken out, step by step.

Axes: N frames, 68 landmarks, M measures. Lengths are in distances between the eyes, heights count upwards.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vitau.schema import NUM_LANDMARKS

Array: TypeAlias = NDArray[np.float64]

REST_FRAMES: Final = 5
"""A clip with so many frames has a rest of its own."""

# what moves with a facial task, by side where there are sides: groups of landmarks whose mean is a point
_HEIGHTS: Final = ((17, 18, 19), (20, 21), (22, 23), (24, 25, 26), (31, 32), (34, 35), (48, 60), (54, 64), (56, 57, 58))
_WIDTHS: Final = ((48, 60), (54, 64), (7, 8, 9))
_GAPS: Final = (((37, 38), (40, 41)), ((43, 44), (46, 47)), ((61, 62, 63), (65, 66, 67)))


def unit_shapes(crop_landmarks: NDArray[np.floating[Any]]) -> Array:
    """Landmarks centred and scaled to unit size, (N, 136); rows that are not finite stay so."""
    points = np.asarray(crop_landmarks, dtype=np.float64).reshape(-1, NUM_LANDMARKS, 2)
    points = points - points.mean(axis=1, keepdims=True)
    size = np.linalg.norm(points, axis=(1, 2), keepdims=True)
    return (points / np.where(size > 0, size, 1)).reshape(len(points), -1)


def upright(landmarks: NDArray[np.floating[Any]]) -> Array:
    """Landmarks seen from between the eyes, (N, 68, 2): x to the picture's right, y down, in distances between the eyes.

    The eyes are the means of their corners, which no task moves.
    """
    shapes = np.asarray(landmarks, dtype=np.float64).reshape(-1, NUM_LANDMARKS, 2)
    eyes = np.stack([shapes[:, [36, 39]].mean(axis=1), shapes[:, [42, 45]].mean(axis=1)], axis=1)
    across = eyes[:, 1] - eyes[:, 0]
    unit = np.maximum(np.linalg.norm(across, axis=1), 1e-9)[:, None]
    right = across / unit
    axes = np.stack([right, np.stack([-right[:, 1], right[:, 0]], axis=1)], axis=2)
    return np.einsum("npi,nij->npj", shapes - eyes.mean(axis=1, keepdims=True), axes) / unit[:, None]


def movement(crop_landmarks: NDArray[np.floating[Any]]) -> Array:
    """How a person moves: (68,) root mean square of each landmark's way from its median place, in face sizes.

    Where a face rests (who it is) is taken out; which points move, and on which side less, stays. Zeros without a finite row.

    Args:
        crop_landmarks: (N, 136) px of the crop, x0, y0, x1, y1, … of their frames; rows that are not finite are left out.
    """
    shapes = unit_shapes(crop_landmarks)
    shapes = shapes[np.isfinite(shapes).all(axis=1)].reshape(-1, NUM_LANDMARKS, 2)
    if not len(shapes):
        return np.zeros(NUM_LANDMARKS)
    way = np.linalg.norm(shapes - np.median(shapes, axis=0), axis=2)
    rms: Array = np.sqrt((way**2).mean(axis=0))
    return rms


def from_rest(crop_landmarks: NDArray[np.floating[Any]], clips: Sequence[str]) -> Array:
    """How far brows, lids, nose, lips and chin are from rest in each frame of a person, by side: (N, M).

    Rest is the median of the clip, which takes camera, head and light out with it; clips of fewer than ``REST_FRAMES`` frames,
    such as photos, share the median of the person's. Rows that are not finite stay so.

    Args:
        crop_landmarks: (N, 136) px of the crop.
        clips: the clip of each frame.
    """
    points = upright(crop_landmarks)
    heights = [-points[:, group, 1].mean(axis=1) for group in map(list, _HEIGHTS)]
    widths = [points[:, group, 0].mean(axis=1) for group in map(list, _WIDTHS)]
    gaps = [points[:, list(low), 1].mean(axis=1) - points[:, list(high), 1].mean(axis=1) for high, low in _GAPS]
    measures_NM = np.stack([*heights, *widths, *gaps], axis=1)
    finite_N, clip_N = np.isfinite(measures_NM).all(axis=1), np.asarray(clips)
    moved_NM = np.full_like(measures_NM, np.nan)
    for clip in np.unique(clip_N):
        here_N = (clip_N == clip) & finite_N
        if here_N.any():
            rest_N = here_N if here_N.sum() >= REST_FRAMES else finite_N
            moved_NM[here_N] = measures_NM[here_N] - np.median(measures_NM[rest_N], axis=0)
    return moved_NM
