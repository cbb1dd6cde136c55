"""The interface of landmark backends, and the statement of how much asymmetry a backend keeps."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vitau.media.crops import Image
from vitau.media.faces import FaceCrop

Points: TypeAlias = NDArray[np.float32]
"""(68, 2) px of the frame, in dlib's order as seen in the picture."""

FLATTENED: Final = ("brow_height", "lid_gap", "lip_corner_height", "lip_corner_lateral")
"""Measures whose flattening is stated."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """The share that a backend keeps of the true left–right difference of one measure.

    ``slope`` is that of the measured on the true difference: 1 keeps all, 0 flattens every face to a symmetric one.
    ``correlation`` is Pearson's r of the two.
    """

    slope: float
    correlation: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Flattening:
    """Flattening of a backend on drawn people, whose true points are known.

    ``kept`` has the keys ``FLATTENED``; ``num_people`` were drawn from ``seed``.
    """

    kept: Mapping[str, Kept]
    num_people: int
    seed: int

    def sentence(self) -> str:
        """Return one sentence for people: the kept share per measure."""
        shares = ", ".join(f"{name.replace('_', ' ')} {self.kept[name].slope:.2f}" for name in FLATTENED)
        return f"share of the true left–right difference that is kept (slope on {self.num_people} drawn people): {shares}"


class LandmarkBackend(Protocol):
    """A source of the 68 points of a face."""

    @property
    def name(self) -> str:
        """Name in tables and reports."""

    @property
    def flattening(self) -> Flattening | None:
        """Flattening as measured on drawn people; ``None`` where it cannot be measured."""

    def points(self, image: Image, face: FaceCrop, frame_index: int = 0, clip: str = "") -> Points | None:
        """Return the points (68, 2) float32 of one face, px of the frame; ``None`` if this backend has none of this frame.

        Args:
            image: the frame, (H, W, 3) uint8 RGB.
            face: the tracked face.
            frame_index: number of the frame among all frames of its clip, from 0; read by backends with stored points.
            clip: name of the input; read by backends with stored points of several inputs.
        """
