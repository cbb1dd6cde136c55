"""Patches of the two halves of a face, and the points that are localized in them."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vitau.media.crops import Image, extract_crop, transform
from vitau.schema import MIRROR

PATCH_PX: Final = 96
"""Side of a patch, px."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A part of one half of the face.

    ``points`` are the landmarks on the person's right; those on the left are their mirror images. ``anchors`` are the landmarks
    whose mean places the patch. ``offset`` is the center of the patch from there, inwards and downwards, in eye distances.
    ``px_per_eyes`` is the number of px per distance of the eye centers.
    """

    points: tuple[int, ...]
    anchors: tuple[int, ...]
    offset: tuple[float, float]
    px_per_eyes: float

    def points_of(self, side: int) -> tuple[int, ...]:
        """Return the landmarks of the person's right (0) or left (1) half."""
        return self.points if side == 0 else tuple(MIRROR[point] for point in self.points)


UPPER: Final = Region(
    points=(17, 18, 19, 20, 21, 36, 37, 38, 39, 40, 41),
    anchors=(36, 37, 38, 39, 40, 41),
    offset=(0.0, -0.17),
    px_per_eyes=96.0,
)
"""Brow and lids."""
LOWER: Final = Region(
    points=(31, 32, 33, 48, 49, 50, 51, 57, 58, 59, 60, 61, 62, 66, 67),
    anchors=(48,),
    offset=(0.18, -0.08),
    px_per_eyes=74.0,
)
"""Nasal wing, and half of the lips with their corner."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Patch:
    """A patch with its map from px of the patch to px of the frame, (2, 3); ``points`` are the landmarks to localize."""

    pixels: Image
    to_frame: NDArray[np.float64]
    points: tuple[int, ...]


def cut_patches(image: Image, landmarks: NDArray[np.floating[Any]], region: Region, zoom: float = 1.0) -> tuple[Patch, Patch]:
    """Cut a region out of the right and the left half of a face; the left one is mirrored.

    Args:
        image: frame, (H, W, 3) uint8 RGB.
        landmarks: (68, 2) px of the frame.
        region: what to cut out.
        zoom: factor of the width that a patch shows.

    Raises:
        ValueError: the eyes of the landmarks coincide.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    axis = points[42:48].mean(axis=0) - points[36:42].mean(axis=0)
    distance = float(np.linalg.norm(axis))
    if not distance > 0:
        raise ValueError("the eyes of these landmarks coincide; leave this frame out")
    across = axis / distance
    down = np.array([-across[1], across[0]])
    right, left = (_cut(image, points, region, side, (across, down), distance * zoom) for side in (0, 1))
    return right, left


def _cut(
    image: Image,
    points: NDArray[np.float64],
    region: Region,
    side: int,
    axes: tuple[NDArray[np.float64], NDArray[np.float64]],
    distance: float,
) -> Patch:
    inwards, down = axes[0] * (1 - 2 * side), axes[1]
    anchors = [anchor if side == 0 else MIRROR[anchor] for anchor in region.anchors]
    middle = points[anchors].mean(axis=0) + distance * (region.offset[0] * inwards + region.offset[1] * down)
    linear = np.column_stack([inwards, down]) * distance / region.px_per_eyes
    to_frame = np.column_stack([linear, middle - linear.sum(axis=1) * (PATCH_PX - 1) / 2])
    return Patch(pixels=extract_crop(image, to_frame, PATCH_PX), to_frame=to_frame, points=region.points_of(side))


def to_frame(patch: Patch, found: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Return points found in a patch, (N, 2) px of the patch, in px of the frame."""
    return transform(patch.to_frame, found)
