"""Movement features of frames: how far each region is from its level at rest, by the side that moves more."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitau.measures.geometry import SIDES, Floats

_SIDED: Final[Mapping[str, float]] = {
    "brow_height": 0.4,
    "lid_gap": 0.6,
    "nasal_wing_height": 0.4,
    "upper_lip_height": 0.4,
    "lower_lip_height": 0.6,
    "lip_corner_height": 0.5,
    "lip_corner_lateral": 0.4,
}
_CENTRAL: Final[Mapping[str, float]] = {"mouth_opening": 0.4, "chin_height": 0.6}
# the numbers are quantiles of a recording that come close to the level at rest: exercises move most measures one way

FEATURES: Final = (
    *(f"{name}_more" for name in _SIDED),
    *(f"{name}_mean" for name in _SIDED),
    *_CENTRAL,
)
"""Per sided measure the movement of the side that moves more and of both on average, then the movements of the midline."""


def first_levels(columns: Mapping[str, Floats]) -> dict[str, float]:
    """Return a first guess of the level at rest of each measure, without knowing which frames are at rest."""
    sided = {f"{name}_{side}": quantile for name, quantile in _SIDED.items() for side in SIDES}
    quantiles = {**dict.fromkeys(columns, 0.5), **sided, **_CENTRAL}
    return {name: float(np.quantile(columns[name], quantile)) for name, quantile in quantiles.items()}


def rest_levels(columns: Mapping[str, Floats], is_rest: NDArray[np.bool_]) -> dict[str, float]:
    """Return the level at rest of each measure: the median of the frames at rest."""
    return {name: float(np.median(values[is_rest])) for name, values in columns.items()}


def movement_features(columns: Mapping[str, Floats], levels: Mapping[str, float]) -> Floats:
    """Return the features (N, ``len(FEATURES)``) of frames, in distances between the eyes.

    Args:
        columns: measures by side, (N,) each.
        levels: level at rest of each measure.
    """
    more, mean = [], []
    for name in _SIDED:
        pair_2N = np.stack([columns[f"{name}_{side}"] - levels[f"{name}_{side}"] for side in SIDES])
        more.append(np.where(np.abs(pair_2N[0]) >= np.abs(pair_2N[1]), pair_2N[0], pair_2N[1]))
        mean.append(pair_2N.mean(axis=0))
    features: Floats = np.stack([*more, *mean, *(columns[name] - levels[name] for name in _CENTRAL)], axis=1)
    return features
