"""The pointing game: whether what contributes most to a palsy lies at an affected region, on the affected side.

Features have places on every face, so that the distances are those of one mean face. A hit is a place within 30 px of 256 of
the peak of an affected region, as in the pointing game of heatmaps.

Axes: P people, K landmarks, A regions.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from vitau.asymmetry.features import FEATURES, People
from vitau.asymmetry.model import AsymmetryModel, Contribution
from vitau.asymmetry.patches import PATCHES
from vitau.asymmetry.signals import own, signal_landmarks
from vitau.evaluation.bootstrap import Interval, percentile_interval, resample_weights
from vitau.measures.geometry import Floats, upright
from vitau.media.crops import alignment
from vitau.media.synthetic.drawing import draw_landmarks
from vitau.media.synthetic.people import draw_person
from vitau.models.heatmaps import sided_peaks
from vitau.schema import MIRROR

RADIUS_PX: Final = 30.0
"""Distance of a hit, px of a crop of 256."""
_NUM_FACES: Final = 40
_NUM_RESAMPLES: Final = 2000


@dataclass(frozen=True, kw_only=True, slots=True)
class Pointing:
    """The share of palsied people whose largest contribution lies at an affected region, with its interval over people.

    ``chance`` is the share of a place that is drawn at random among those of the features, on either side.
    """

    share: float
    interval: Interval | None
    chance: float
    num_people: int


def largest_place(contributions: Sequence[Contribution]) -> str:
    """Return the place whose features together contribute most."""
    sums: dict[str, float] = defaultdict(float)
    for contribution in contributions:
        sums[contribution.feature.place] += contribution.log_odds
    return max(sums, key=lambda place: sums[place])


def pointing_game(model: AsymmetryModel, people: People) -> Pointing | None:
    """Play the game with the palsied people who have one affected side and an affected region; ``None`` if there are none."""
    played = np.flatnonzero(people.palsied_P & (people.side_P != 0) & (people.affected_PA & people.known_PA).any(axis=1))
    if not len(played):
        return None
    near = _regions_near()
    places = sorted({feature.place for feature, weight in zip(FEATURES, model.palsy.weight_F, strict=True) if weight})
    right_P = model.answer(people.feature_PF[played]).right_P >= 0.5
    hits, chances = [], []
    for row, found_right in zip(played.tolist(), right_P.tolist(), strict=True):
        affected_A = people.affected_PA[row] & people.known_PA[row]
        found = largest_place(model.explain(people.feature_PF[row]))
        same_side = found_right == (people.side_P[row] > 0)
        hits.append(float(same_side and (near[found] & affected_A).any()))
        chances.append(float(np.mean([(near[place] & affected_A).any() for place in places])) / 2)
    share_R = resample_weights(len(hits), _NUM_RESAMPLES, 0) @ np.array(hits) / len(hits)
    return Pointing(
        share=float(np.mean(hits)),
        interval=percentile_interval(share_R),
        chance=float(np.mean(chances)),
        num_people=len(hits),
    )


@cache
def _regions_near() -> Mapping[str, NDArray[np.bool_]]:
    """Return for each place which regions have their peak near it, (A,) bool; both sides of the mean face are alike."""
    face_K2 = _mean_face()
    crop_px = np.linalg.norm(alignment(face_K2)[:, 0])
    peak_A2 = sided_peaks(torch.from_numpy(face_K2[None]))[0, :, 0].numpy()
    return {
        place: np.linalg.norm(peak_A2 - _position(place, face_K2), axis=1) <= RADIUS_PX * crop_px
        for place in {feature.place for feature in FEATURES}
    }


def _position(place: str, face_K2: Floats) -> Floats:
    """Return where a place is on the right of a face, in distances between the eyes."""
    if place in PATCHES:
        patch = PATCHES[place]
        position: Floats = face_K2[own(patch.landmarks, 0)].mean(axis=0) + np.array([-patch.outwards, patch.down])
        return position
    mean: Floats = face_K2[own(signal_landmarks(place), 0)].mean(axis=0)
    return mean


@cache
def _mean_face() -> Floats:
    """Return the landmarks (68, 2) of the mean of drawn faces at rest, symmetric, in distances between the eyes."""
    faces_NK2 = np.stack([draw_landmarks(draw_person(0, number, palsied=False), "rest", 0.0) for number in range(_NUM_FACES)])
    face_K2 = upright(faces_NK2).mean(axis=0)
    mean: Floats = (face_K2 + face_K2[list(MIRROR)] * (-1, 1)) / 2
    return mean
