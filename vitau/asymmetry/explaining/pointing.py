"""The pointing game: whether what contributes most to a palsy lies at an affected region, on the affected side.

Features have places on every face, so that the distances are those of one mean face. A hit is a place within 30 px of 256 of
the peak of an affected region, as in the pointing game of heatmaps.

Axes: P people, K landmarks, A regions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitau.asymmetry.explaining.places import peak_distances, place_sums
from vitau.asymmetry.features import FEATURES, People
from vitau.asymmetry.model import AsymmetryModel, Contribution
from vitau.evaluation.bootstrap import Interval, percentile_interval, resample_weights

RADIUS_PX: Final = 30.0
"""Distance of a hit, px of a crop of 256."""
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
    sums = place_sums(contributions)
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
    return {place: distance_A <= RADIUS_PX for place, distance_A in peak_distances().items()}
