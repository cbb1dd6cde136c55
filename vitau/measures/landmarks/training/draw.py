"""Sets of drawn patches."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from vitau.measures.landmarks.training.grid import Floats, Grid
from vitau.measures.landmarks.training.lower import paint_lower
from vitau.measures.landmarks.training.photograph import photograph
from vitau.measures.landmarks.training.shapes import HalfFace, draw_half_face
from vitau.measures.landmarks.training.upper import paint_upper
from vitau.media.crops import Image

_PAINT: Final[dict[str, Callable[[Generator, HalfFace], tuple[Grid, Floats, Floats]]]] = {
    "upper": paint_upper,
    "lower": paint_lower,
}
_STREAMS: Final = {"upper": 0, "lower": 1}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DrawnPatches:
    """Patches (N, P, P, 3) uint8 with their true points (N, K, 2) float32, px of the patch."""

    patches: NDArray[np.uint8]
    points: NDArray[np.float32]


def draw_patches(
    region: str,
    num_patches: int,
    seed: int,
    progress: Callable[[int, int], None] | None = None,
) -> DrawnPatches:
    """Draw patches of a region; number n of a seed is always the same, however many are drawn.

    Args:
        region: ``upper`` or ``lower``.
        num_patches: how many.
        seed: identifies the people and their looks.
        progress: called with (drawn, all).

    Raises:
        ValueError: an unknown region, or no patch.
    """
    if region not in _PAINT or num_patches < 1:
        raise ValueError(
            f"{num_patches} patches of the region {region!r} cannot be drawn; give 1 or more of {', '.join(_PAINT)}"
        )
    drawn: list[tuple[Image, Floats]] = []
    cv2.setNumThreads(1)
    for number in range(num_patches):
        drawn.append(_draw_patch(region, seed, number))
        if progress is not None:
            progress(number + 1, num_patches)
    patches, points = zip(*drawn, strict=True)
    return DrawnPatches(patches=np.stack(patches), points=np.stack(points).astype(np.float32))


def _draw_patch(region: str, seed: int, number: int) -> tuple[Image, Floats]:
    """Draw a patch (P, P, 3) uint8 and its points (K, 2), px of the patch."""
    rng = np.random.default_rng([seed, number, _STREAMS[region]])
    grid, rgb, points = _PAINT[region](rng, draw_half_face(rng, seed, number))
    return photograph(rng, rgb), grid.to_patch(points)
