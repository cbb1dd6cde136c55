"""Landmark shapes, normalized so that they compare: without position, size, and the person's own face at rest.

Axes: N frames, 68 landmarks, M measures. Lengths are in interocular distances; heights increase upwards.
"""

from collections.abc import Sequence
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vitau.schema import NUM_LANDMARKS

Array: TypeAlias = NDArray[np.float64]

REST_FRAMES: Final = 5
"""Minimum number of frames of a clip with its own rest shape."""

# groups of landmarks, by side where there are sides, whose mean is a point that moves with a facial task
_HEIGHTS: Final = ((17, 18, 19), (20, 21), (22, 23), (24, 25, 26), (31, 32), (34, 35), (48, 60), (54, 64), (56, 57, 58))
_WIDTHS: Final = ((48, 60), (54, 64), (7, 8, 9))
_GAPS: Final = (((37, 38), (40, 41)), ((43, 44), (46, 47)), ((61, 62, 63), (65, 66, 67)))


def unit_shapes(crop_landmarks: NDArray[np.floating[Any]]) -> Array:
    """Return landmarks centered and scaled to unit size, (N, 136); rows that are not finite stay so."""
    points = np.asarray(crop_landmarks, dtype=np.float64).reshape(-1, NUM_LANDMARKS, 2)
    points = points - points.mean(axis=1, keepdims=True)
    size = np.linalg.norm(points, axis=(1, 2), keepdims=True)
    return (points / np.where(size > 0, size, 1)).reshape(len(points), -1)


def upright(landmarks: NDArray[np.floating[Any]]) -> Array:
    """Return landmarks relative to the midpoint of the eyes, (N, 68, 2), rotated so that the eyes are level.

    x is to the picture's right and y is down, in interocular distances. An eye is the mean of its corners, which no facial task
    moves.
    """
    shapes = np.asarray(landmarks, dtype=np.float64).reshape(-1, NUM_LANDMARKS, 2)
    eyes = np.stack([shapes[:, [36, 39]].mean(axis=1), shapes[:, [42, 45]].mean(axis=1)], axis=1)
    across = eyes[:, 1] - eyes[:, 0]
    unit = np.maximum(np.linalg.norm(across, axis=1), 1e-9)[:, None]
    right = across / unit
    axes = np.stack([right, np.stack([-right[:, 1], right[:, 0]], axis=1)], axis=2)
    return np.einsum("npi,nij->npj", shapes - eyes.mean(axis=1, keepdims=True), axes) / unit[:, None]


def movement(crop_landmarks: NDArray[np.floating[Any]]) -> Array:
    """Compute how much each landmark of a person moves: (68,) RMS distance from its median position, in face sizes.

    The person's face at rest cancels out; which landmarks move, and on which side less, remains. Zeros without a finite row.

    Args:
        crop_landmarks: (N, 136) px of the crop, x0, y0, x1, y1, …; rows that are not finite are ignored.
    """
    shapes = unit_shapes(crop_landmarks)
    shapes = shapes[np.isfinite(shapes).all(axis=1)].reshape(-1, NUM_LANDMARKS, 2)
    if not len(shapes):
        return np.zeros(NUM_LANDMARKS)
    distance = np.linalg.norm(shapes - np.median(shapes, axis=0), axis=2)
    rms: Array = np.sqrt((distance**2).mean(axis=0))
    return rms


def from_rest(crop_landmarks: NDArray[np.floating[Any]], clips: Sequence[str]) -> Array:
    """Compute the displacement of brows, lids, nose, lips and chin from rest, by frame and side: (N, M).

    Rest is the median of the clip, which also removes camera, head pose and light. Clips with fewer than ``REST_FRAMES``
    frames, such as photos, use the median of all frames of the person. Rows that are not finite stay so.

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
