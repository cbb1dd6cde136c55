"""The backend that refines dlib's points from pixels."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from vitau.measures.landmarks.backend import Flattening, Points
from vitau.measures.landmarks.refinement import WEIGHTS
from vitau.measures.landmarks.refinement.patches import LOWER, UPPER, Region, cut_patches, to_frame
from vitau.measures.landmarks.stated import stated_flattening
from vitau.media.crops import Image
from vitau.media.faces import FaceCrop
from vitau.schema import NUM_LANDMARKS

if TYPE_CHECKING:
    from vitau.measures.landmarks.refinement.network import PointNet

PASSES: Final[Sequence[tuple[Sequence[tuple[str, Region]], float]]] = (
    ((("upper", UPPER), ("lower", LOWER)), 1.0),
    ((("upper", UPPER),), 0.92),
)
"""Regions and zoom of each pass. The second one looks where the first one found brow and lids, and a little closer."""
_FARTHEST: Final = 0.35
"""Distance from dlib's point beyond which a refined point is not believed, in eye distances."""

_SUBNASAL_SHARES: Final = np.array([0.3, 0.4, 0.3])
"""Shares of the three estimates of where the subnasal point is sideways."""
_INNER_SHARE: Final = 0.7
"""Share of the inner lip corner in where the outer one is sideways; the point itself has the rest."""


class RefinedBackend:
    """dlib's points, of which those of brows, lids, nose and lips are localized in the pixels.

    Raises:
        CheckpointError: the weights cannot be loaded.
    """

    name = "refined"

    def __init__(self, weights: Path | None = None) -> None:
        from vitau.measures.landmarks.refinement.network import load_networks

        self._weights = weights or WEIGHTS
        self._networks: Mapping[str, PointNet] = load_networks(self._weights)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how another process loads the same weights, once."""
        return _loaded, (self._weights,)

    @property
    def flattening(self) -> Flattening | None:
        """Flattening as stored with the weights."""
        return stated_flattening(self.name)

    def points(self, image: Image, face: FaceCrop, frame_index: int = 0, clip: str = "") -> Points | None:  # noqa: ARG002 - the interface
        """Return the refined points; a point far from dlib's stays where dlib has it."""
        return refine(image, face.landmarks, self._networks)


@functools.cache
def _loaded(weights: Path) -> RefinedBackend:
    return RefinedBackend(weights)


def refine(
    image: Image, landmarks: NDArray[np.floating[Any]], networks: Mapping[str, "PointNet"], *, num_passes: int = len(PASSES)
) -> Points:
    """Refine landmarks (68, 2), px of the frame; one call of a network takes both halves of the face.

    The first of the passes alone is half the work, and names exercises as well.
    """
    eyes = landmarks[42:48].mean(axis=0) - landmarks[36:42].mean(axis=0)
    farthest = _FARTHEST * float(np.linalg.norm(eyes))
    refined = landmarks.astype(np.float64)
    for regions, zoom in PASSES[:num_passes]:
        sums, counts = np.zeros((NUM_LANDMARKS, 2)), np.zeros(NUM_LANDMARKS)
        for name, region in regions:
            for points, found in _localize(image, refined, region, networks[name], zoom):
                near = np.linalg.norm(found - landmarks[points], axis=1) <= farthest
                sums[points] += found * near[:, None]
                counts[points] += near
        believed = counts > 0  # the midline is found from both sides
        refined[believed] = sums[believed] / counts[believed, None]
    _center_subnasal(refined, landmarks)
    steady_corners(refined)
    return refined.astype(np.float32)


def steady_corners(refined: NDArray[np.float64]) -> None:
    """Move the outer lip corners sideways, toward where the inner ones place them, because the end of the red lip has no edge.

    The lips meet at the inner corners. Their distance from the outer ones is taken as the mean of both sides.
    """
    axis = refined[42:48].mean(axis=0) - refined[36:42].mean(axis=0)
    across = axis / np.linalg.norm(axis)
    right, left = (refined[[60, 54]] - refined[[48, 64]]) @ across
    shift = _INNER_SHARE * (right - left) / 2
    refined[[48, 54]] += shift * across


def _center_subnasal(refined: NDArray[np.float64], landmarks: NDArray[np.floating[Any]]) -> None:
    """Move the subnasal point sideways to the mean of three estimates, because it has no edge of its own.

    They are the point itself, the middle of the nasal wings, and the middle of the bridge and the tip as dlib has them.
    """
    axis = refined[42:48].mean(axis=0) - refined[36:42].mean(axis=0)
    across = axis / np.linalg.norm(axis)
    estimates = np.stack([refined[33], refined[[31, 35]].mean(axis=0), landmarks[[27, 30]].mean(axis=0)])
    refined[33] += ((_SUBNASAL_SHARES @ estimates - refined[33]) @ across) * across


def _localize(
    image: Image, landmarks: NDArray[np.float64], region: Region, network: "PointNet", zoom: float
) -> list[tuple[list[int], NDArray[np.float64]]]:
    """Return the landmarks of a region and where they are, px of the frame, for the right and the left half."""
    import torch

    from vitau.measures.landmarks.refinement.network import to_input

    patches = cut_patches(image, landmarks, region, zoom)
    with torch.inference_mode():
        found_BK2, _ = network(to_input(np.stack([patch.pixels for patch in patches])))
    return [(list(patch.points), to_frame(patch, found_K2)) for patch, found_K2 in zip(patches, found_BK2.numpy(), strict=True)]
