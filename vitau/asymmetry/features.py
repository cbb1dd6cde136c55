"""Odd features of one person: by how much the right half of the face moves, changes or hangs less than the left.

All features change their sign in the mirror image, so that no symmetric trait of a person's look can be among them.

Axes: N frames, K landmarks, P people, F features.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vitau.asymmetry.patches import texture_ratios
from vitau.asymmetry.signals import sided_signals
from vitau.evaluation.decision import FEWEST_FRAMES
from vitau.measures.asymmetry import movement_ratios
from vitau.measures.geometry import SIDES, Floats
from vitau.measures.landmarks.refinement.network import load_networks
from vitau.measures.landmarks.refinement.refined import refine
from vitau.schema import AU, CROP_SIZE

MOST_FRAMES: Final = 120
"""Frames of a person that are measured at most, evenly spaced: a long recording costs no more than 20 seconds of one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Part:
    """The comparisons that judge one region: signals of landmarks that move or hang, and patches that change."""

    signals: Sequence[str]
    patches: Sequence[str]


REGION_PARTS: Final[Mapping[AU, Part]] = {
    AU.AU1: Part(signals=("brow_inner",), patches=("brow_inner", "forehead")),
    AU.AU2: Part(signals=("brow_outer",), patches=("brow_outer", "forehead")),
    AU.AU4: Part(signals=("brow_inner", "brow_outer"), patches=("glabella", "brow_inner")),
    AU.AU6: Part(signals=("lid_gap", "lower_lid"), patches=("eye", "lower_lid")),
    AU.AU9: Part(signals=("nasal_wing", "upper_lip"), patches=("nasal_wing", "nasolabial_fold")),
    AU.AU12: Part(signals=("lip_corner", "lip_corner_aside"), patches=("lip_corner", "nasolabial_fold", "cheek")),
    AU.AU25: Part(signals=("upper_lip", "lower_lip", "lips_apart"), patches=("upper_lip", "lower_lip", "lip_corner")),
    AU.AU26: Part(signals=("lower_lip", "mouth_below_eye"), patches=("lower_lip", "lip_corner")),
}
"""The parts of each region, after the muscles of its action unit."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Feature:
    """One number of a person.

    ``kind`` is ``movement`` (log ratio of the amounts that landmarks move), ``texture`` (log ratio of the changes of gray
    values), ``gradient`` (the same of histograms of oriented gradients) or ``rest`` (mean difference of heights).
    ``place`` names the signal or the patch.
    """

    kind: str
    place: str

    @property
    def name(self) -> str:
        """Name in files, such as ``movement.lip_corner``."""
        return f"{self.kind}.{self.place}"


def _features(kinds: Sequence[str], part: Part) -> list[Feature]:
    places = {"movement": part.signals, "rest": part.signals, "texture": part.patches, "gradient": part.patches}
    return [Feature(kind=kind, place=place) for kind in kinds for place in places[kind]]


KINDS: Final = ("movement", "rest", "texture", "gradient")
FEATURES: Final[tuple[Feature, ...]] = tuple(
    dict.fromkeys(feature for part in REGION_PARTS.values() for feature in _features(KINDS, part))
)
"""All features, in the order of every array axis over features."""


def parse_kinds(text: str) -> tuple[str, ...]:
    """Parse kinds of features with commas between them.

    Raises:
        ValueError: there is no such kind.
    """
    kinds = tuple(text.split(","))
    for kind in kinds:
        if kind not in KINDS:
            raise ValueError(f"there is no kind of features {kind!r}: take some of {', '.join(KINDS)}")
    return kinds


def region_features(region: AU, kinds: Sequence[str] = KINDS) -> list[int]:
    """Return the positions of the features of a region among ``FEATURES``."""
    return [FEATURES.index(feature) for feature in _features(kinds, REGION_PARTS[region])]


def kind_features(kinds: Sequence[str]) -> list[int]:
    """Return the positions of the features of some kinds among ``FEATURES``."""
    return [position for position, feature in enumerate(FEATURES) if feature.kind in kinds]


def measure_features(pixels_NSS3: NDArray[np.uint8], points_NK2: NDArray[Any]) -> Floats:
    """Return the features (F,) of one person from all frames; zeros, which are no evidence, from fewer than 4 frames.

    Args:
        pixels_NSS3: aligned crops, unmirrored, uint8 RGB, about 6 frames per second.
        points_NK2: dlib's landmarks (N, 68, 2), px of a crop of 256 px. They are refined in the crops.
    """
    if len(pixels_NSS3) < FEWEST_FRAMES:
        return np.zeros(len(FEATURES))
    to_pixels = pixels_NSS3.shape[1] / CROP_SIZE
    in_pixels_NK2 = (np.asarray(points_NK2, np.float64) + 0.5) * to_pixels - 0.5
    refined_NK2 = np.stack([refine(crop, points, _networks()) for crop, points in zip(pixels_NSS3, in_pixels_NK2, strict=True)])
    return features_of_points(pixels_NSS3, (refined_NK2 + 0.5) / to_pixels - 0.5)


def measured_frames(num_frames: int) -> NDArray[np.int64]:
    """Return the frames of a person that are measured: all, or ``MOST_FRAMES`` evenly spaced ones."""
    if num_frames <= MOST_FRAMES:
        return np.arange(num_frames)
    return np.linspace(0, num_frames - 1, MOST_FRAMES).round().astype(np.int64)


def measure_person(batches: Iterable[NDArray[np.uint8]], points_NK2: NDArray[Any]) -> Floats | None:
    """Return the features (F,) of one person, ``None`` from fewer than 4 frames; see :func:`measure_features`.

    Args:
        batches: the aligned crops (B, S, S, 3) of N frames in order. Those that are not measured are dropped at once.
        points_NK2: dlib's landmarks of the N frames.
    """
    if len(points_NK2) < FEWEST_FRAMES:
        return None
    chosen, start, kept = measured_frames(len(points_NK2)), 0, []
    for pixels_BSS3 in batches:
        own = chosen[(chosen >= start) & (chosen < start + len(pixels_BSS3))]
        kept.append(pixels_BSS3[own - start])
        start += len(pixels_BSS3)
    return measure_features(np.concatenate(kept), points_NK2[chosen])


def features_of_points(pixels_NSS3: NDArray[np.uint8], points_NK2: NDArray[Any]) -> Floats:
    """Return the features (F,) of one person whose landmarks are exact; see :func:`measure_features`."""
    columns = sided_signals(points_NK2)
    names = [feature.place for feature in FEATURES if feature.kind == "movement"]
    moved = movement_ratios(columns, measures=names)
    changed = texture_ratios(pixels_NSS3, points_NK2)
    values: dict[str, Callable[[str], float]] = {
        "movement": lambda place: moved.get(place, 0.0),
        "rest": lambda place: float(np.mean(columns[f"{place}_{SIDES[1]}"] - columns[f"{place}_{SIDES[0]}"])),
        "texture": lambda place: changed[place][0],
        "gradient": lambda place: changed[place][1],
    }
    return np.array([values[feature.kind](feature.place) for feature in FEATURES])


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class People:
    """P people with their features and labels.

    ``side_P`` is 1 if the right side alone is affected, −1 for the left, 0 where nobody says. ``affected_PA`` and
    ``known_PA`` (P, 8) are in the order of ``AUS``.
    """

    subject_P: NDArray[Any]
    feature_PF: Floats
    palsied_P: NDArray[np.bool_]
    side_P: NDArray[np.int64]
    affected_PA: NDArray[np.bool_]
    known_PA: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.subject_P)

    def where(self, mask_P: NDArray[np.bool_]) -> "People":
        """Return some of the people."""
        return People(**{name: getattr(self, name)[mask_P] for name in self.__slots__})


@cache
def _networks() -> Any:
    return load_networks()
