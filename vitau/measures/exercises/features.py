"""Movement features of frames: how far each region is from its level at rest, by the side that moves more."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitau.measures.geometry import SIDES, Floats

_SIDED: Final[Mapping[str, float]] = {
    "brow_height": 0.4,
    "inner_brow_height": 0.5,
    "lid_gap": 0.6,
    "nasal_wing_lift": 0.4,
    "upper_lip_height": 0.4,
    "lower_lip_height": 0.6,
    "lip_corner_height": 0.5,
    "lip_corner_lateral": 0.4,
    "lower_margin_reflex": 0.6,
}
_CENTRAL: Final[Mapping[str, float]] = {"mouth_opening": 0.4, "chin_height": 0.6}
# the numbers are quantiles of a recording that come close to the level at rest: exercises move most measures one way

_LIDS_IN_CENTER: Final = 1 / 3
"""Share of the upper lid's movement by which the center of the eye moves: two of its six landmarks are on that lid."""

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


def without_lids(
    columns: Mapping[str, Floats], levels: Mapping[str, float], is_left_out: NDArray[np.bool_]
) -> dict[str, Floats]:
    """Return the measures as if the lids were at rest in some frames (N,), such as those of a blink.

    A lid that falls also moves the center of its eye, from which the height of the brow is measured.
    """
    opened = dict(columns)
    for side in SIDES:
        gap, margin, brow = (f"{name}_{side}" for name in ("lid_gap", "lower_margin_reflex", "brow_height"))
        fallen_N = columns[gap] - levels[gap]
        opened[brow] = np.where(is_left_out, columns[brow] + _LIDS_IN_CENTER * fallen_N, columns[brow])
        for name in (gap, margin):
            opened[name] = np.where(is_left_out, levels[name], columns[name])
    return opened
