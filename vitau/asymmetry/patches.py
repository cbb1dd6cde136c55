"""Patches of both halves of a face, the left ones mirrored, and by how much their gray values and gradients change.

A patch stays at one place of the upright face, symmetric to that of the other side, while skin and edges move through it. Its
place is the median of the landmarks over the recording. So it needs no exact landmarks, only roughly the place of the part.

Axes: N frames, 2 sides (the person's right, then left), P px of a patch, F numbers of its histograms.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vitau.asymmetry.signals import own
from vitau.measures.geometry import Floats, upright
from vitau.schema import CROP_SIZE


@dataclass(frozen=True, kw_only=True, slots=True)
class Patch:
    """A square part of a half face: landmarks on the person's right whose mean is its middle, and half its side.

    ``outwards`` and ``down`` move the middle. All lengths are in distances between the eyes.
    """

    landmarks: Sequence[int]
    half: float
    outwards: float = 0.0
    down: float = 0.0


PATCHES: Final[Mapping[str, Patch]] = {
    "brow_inner": Patch(landmarks=(20, 21), half=0.17, down=-0.02),
    "brow_outer": Patch(landmarks=(17, 18, 19), half=0.19, down=-0.02),
    "forehead": Patch(landmarks=(18, 19, 20, 21), half=0.20, down=-0.22),
    "glabella": Patch(landmarks=(21, 27), half=0.15, down=-0.05),
    "eye": Patch(landmarks=(36, 37, 38, 39, 40, 41), half=0.22),
    "lower_lid": Patch(landmarks=(40, 41), half=0.18, down=0.14),
    "nasal_wing": Patch(landmarks=(31,), half=0.16, outwards=0.03, down=-0.05),
    "nasolabial_fold": Patch(landmarks=(31, 48), half=0.20, outwards=0.10, down=-0.03),
    "cheek": Patch(landmarks=(41, 48), half=0.25, outwards=0.12),
    "lip_corner": Patch(landmarks=(48,), half=0.18),
    "upper_lip": Patch(landmarks=(50, 61), half=0.15),
    "lower_lip": Patch(landmarks=(58, 67), half=0.17, down=0.02),
}
"""The patches by name."""

PATCH_PX: Final = 32
"""Side of a patch, px."""
_COARSE_PX: Final = 16
_FLAT: Final = 8.0
"""Added to the deviation of gray values of a patch, so that noise of an even one does not count."""
_STILL: Final = 0.05
"""Added to variances over time before their ratio."""


def texture_ratios(pixels_NSS3: NDArray[np.uint8], points_NK2: NDArray[Any]) -> dict[str, tuple[float, float]]:
    """Return two log ratios of each patch of ``PATCHES``, positive where the person's right half changes less.

    The first compares the variance over time of gray values, without brightness and contrast of each frame, the second that of
    histograms of oriented gradients.

    Args:
        pixels_NSS3: aligned crops of one person, unmirrored, uint8 RGB.
        points_NK2: landmarks (N, 68, 2), px of a crop of 256 px.
    """
    gray_NSS = [cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY) for pixels in pixels_NSS3]
    to_pixels = pixels_NSS3.shape[1] / CROP_SIZE
    points_NK2 = (np.asarray(points_NK2, np.float64) + 0.5) * to_pixels - 0.5
    axes = _axes(points_NK2)
    median_K2 = np.median(upright(points_NK2), axis=0)
    ratios = {}
    for name, patch in PATCHES.items():
        cut_N2PP = np.stack(
            [[_cut(gray, axes, row, patch, median_K2, side) for side in (0, 1)] for row, gray in enumerate(gray_NSS)]
        )
        ratios[name] = (_log_ratio(_gray_change(cut_N2PP)), _log_ratio(_gradient_change(cut_N2PP)))
    return ratios


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Axes:
    """Of each frame: the point between the eyes, and the distance between the eyes to the left and downwards, px (N, 2)."""

    middle_N2: Floats
    left_N2: Floats
    down_N2: Floats


def _axes(points_NK2: Floats) -> _Axes:
    right_N2, left_N2 = points_NK2[:, 36:42].mean(axis=1), points_NK2[:, 42:48].mean(axis=1)
    axis_N2 = left_N2 - right_N2
    return _Axes(middle_N2=(right_N2 + left_N2) / 2, left_N2=axis_N2, down_N2=np.stack([-axis_N2[:, 1], axis_N2[:, 0]], axis=1))


def _cut(gray: NDArray[np.uint8], axes: _Axes, row: int, patch: Patch, median_K2: Floats, side: int) -> NDArray[np.uint8]:
    """Cut a patch out of one frame; x points inwards on both sides."""
    inwards = 1 - 2 * side
    center_2 = median_K2[own(patch.landmarks, side)].mean(axis=0) + np.array((-inwards * patch.outwards, patch.down))
    left_2, down_2 = axes.left_N2[row], axes.down_N2[row]
    per_px = 2 * patch.half / PATCH_PX
    linear = np.column_stack([left_2 * inwards * per_px, down_2 * per_px])
    middle_2 = axes.middle_N2[row] + center_2[0] * left_2 + center_2[1] * down_2
    to_image = np.column_stack([linear, middle_2 - linear.sum(axis=1) * (PATCH_PX - 1) / 2])
    cut: NDArray[np.uint8] = cv2.warpAffine(
        gray,
        to_image,
        (PATCH_PX, PATCH_PX),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_REFLECT_101,
    )
    return cut


def _gray_change(cut_N2PP: NDArray[np.uint8]) -> Floats:
    """Return the variance over time of the gray values of each side, (2,), of patches of mean 0 and deviation about 1."""
    share = PATCH_PX // _COARSE_PX
    coarse = cut_N2PP.reshape(*cut_N2PP.shape[:2], _COARSE_PX, share, _COARSE_PX, share).astype(np.float64).mean(axis=(3, 5))
    coarse -= coarse.mean(axis=(2, 3), keepdims=True)
    coarse /= coarse.std(axis=(2, 3), keepdims=True) + _FLAT
    change_2: Floats = coarse.var(axis=0).mean(axis=(1, 2))
    return change_2


def _gradient_change(cut_N2PP: NDArray[np.uint8]) -> Floats:
    """Return the sum of the variances over time of the histograms of oriented gradients of each side, (2,)."""
    descriptor = _descriptor()
    histogram_N2F = np.stack([[descriptor.compute(cut).ravel() for cut in sides] for sides in cut_N2PP])
    change_2: Floats = histogram_N2F.astype(np.float64).var(axis=0).sum(axis=1)
    return change_2


def _log_ratio(change_2: Floats) -> float:
    right, left = change_2 + _STILL
    return float(np.log(left / right))


@cache
def _descriptor() -> Any:
    return cv2.HOGDescriptor((PATCH_PX, PATCH_PX), (16, 16), (8, 8), (8, 8), 9)
