"""The places of features: where they lie on a face, and which region of the face each belongs to.

Axes: K landmarks, A regions.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from vitau.asymmetry.features import FEATURES, REGION_PARTS
from vitau.asymmetry.model import Contribution
from vitau.asymmetry.patches import PATCHES
from vitau.asymmetry.signals import own, signal_landmarks
from vitau.measures.geometry import Floats, upright
from vitau.media.crops import alignment
from vitau.media.synthetic.drawing import draw_landmarks
from vitau.media.synthetic.people import draw_person
from vitau.models.heatmaps import sided_peaks
from vitau.schema import AU, MIRROR

PLACES: Final = tuple(sorted({feature.place for feature in FEATURES}))
"""The places of all features."""
SIGNAL_HALF: Final = 0.15
"""Half the side of the square that stands for a signal of landmarks without a patch, in distances between the eyes."""
_NUM_FACES: Final = 40


def place_sums(contributions: Sequence[Contribution]) -> dict[str, float]:
    """Return the log-odds that all features of each place add together."""
    sums: dict[str, float] = {}
    for contribution in contributions:
        place = contribution.feature.place
        sums[place] = sums.get(place, 0.0) + contribution.log_odds
    return sums


def position(place: str, face_K2: Floats, side: int = 0) -> Floats:
    """Return where a place is on the right (0) or the left (1) of an upright face, in distances between the eyes."""
    if place in PATCHES:
        patch = PATCHES[place]
        outwards = -patch.outwards if side == 0 else patch.outwards
        middle: Floats = face_K2[own(patch.landmarks, side)].mean(axis=0) + np.array([outwards, patch.down])
        return middle
    mean: Floats = face_K2[own(signal_landmarks(place), side)].mean(axis=0)
    return mean


def squares(landmarks_K2: NDArray[Any], side: int) -> dict[str, tuple[Floats, float]]:
    """Return the middle (2,) and half the side of the square of each place on one side of a face, in px of its landmarks.

    Args:
        landmarks_K2: (68, 2), px of an unmirrored picture.
        side: 0 for the person's right, 1 for the left.
    """
    points_K2 = np.asarray(landmarks_K2, np.float64)
    right_2, left_2 = points_K2[36:42].mean(axis=0), points_K2[42:48].mean(axis=0)
    across_2 = left_2 - right_2
    axes_22, face_K2 = np.stack([across_2, [-across_2[1], across_2[0]]]), upright(points_K2[None])[0]
    eyes_px = float(np.linalg.norm(across_2))
    return {
        place: (
            (right_2 + left_2) / 2 + position(place, face_K2, side) @ axes_22,
            eyes_px * (PATCHES[place].half if place in PATCHES else SIGNAL_HALF),
        )
        for place in PLACES
    }


@cache
def place_regions() -> Mapping[str, AU]:
    """Return the region of each place: the first one that its patch judges, or else that its signal judges."""
    regions: dict[str, AU] = {}
    for names in ("patches", "signals"):
        for au, part in REGION_PARTS.items():
            regions |= {place: au for place in getattr(part, names) if place not in regions}
    return MappingProxyType(regions)


@cache
def peak_distances() -> Mapping[str, Floats]:
    """Return the distance (A,) of each place from the peaks of the regions on the mean face, in px of its aligned crop."""
    face_K2 = mean_face()
    crop_px = np.linalg.norm(alignment(face_K2)[:, 0])
    peak_A2 = sided_peaks(torch.from_numpy(face_K2[None]))[0, :, 0].numpy()
    distances = {place: np.linalg.norm(peak_A2 - position(place, face_K2), axis=1) / crop_px for place in PLACES}
    return MappingProxyType(distances)


@cache
def mean_face() -> Floats:
    """Return the landmarks (68, 2) of the mean of drawn faces at rest, symmetric, in distances between the eyes."""
    faces_NK2 = np.stack([draw_landmarks(draw_person(0, number, palsied=False), "rest", 0.0) for number in range(_NUM_FACES)])
    face_K2 = upright(faces_NK2).mean(axis=0)
    mean: Floats = (face_K2 + face_K2[list(MIRROR)] * (-1, 1)) / 2
    return mean
