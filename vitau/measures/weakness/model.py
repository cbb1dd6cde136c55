"""The model of the weak half: log-odds of its side, of each region of the forehead, and of the lower face, from few signs.

The side has no bias, so that its log-odds change their sign in the mirror image. For the other questions the signs are taken
as those of the side that was found. So a mirrored face has the same answers and the other side.

Axes: P people, S signs.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vitau.evaluation.decision import sigmoid
from vitau.measures.geometry import Floats
from vitau.measures.weakness.odds import Odds, fit_odds
from vitau.measures.weakness.signs import FOREHEAD_SIGNS, LOWER_SIGNS, SIDE_SIGNS, SIGNS
from vitau.schema import AU, Side

WEIGHTS: Final = "weights.json"

_SIDE_SUM: Final = 6.0
_REGION_SUM: Final = 2.0
"""Sums of the prior weights: a person with a usual palsy has signs of about 1."""
_BIAS: Final = -1.0
_SIDE_STRENGTH: Final = 6.0
_REGION_STRENGTH: Final = 1.0
"""Strengths of the priors; see :func:`vitau.measures.weakness.odds.fit_odds`. The side is met in a mirror too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weakness:
    """The weak half of a person, if one half is weak at all.

    ``side_probability``, 0.5 to 1, is that of the side. ``forehead`` and ``lower_face`` are the probabilities that these parts
    are weak on that side.
    """

    side: Side
    side_probability: float
    forehead: float
    lower_face: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LabeledSigns:
    """Signs of P people and the truth about them: ``side_P`` is 1 for a weak right half, −1 for the left, 0 for none.

    ``regions`` has a value (P,) of each region of the forehead, and ``lower_P`` that of the lower face.
    """

    sign_PS: Floats
    side_P: NDArray[np.int64]
    regions: Mapping[AU, NDArray[np.bool_]]
    lower_P: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WeaknessModel:
    """Weights of signs that are divided by ``scale_S``; ``forehead`` has those of its regions."""

    scale_S: Floats
    side: Odds
    forehead: Mapping[AU, Odds]
    lower: Odds

    def judge(self, sign_S: Floats) -> Weakness:
        """Judge a person with signs (S,).

        The forehead is weak where one of its regions is: the regions count as independent.
        """
        scaled_1S = sign_S[None] / self.scale_S
        side = float(self.side(scaled_1S)[0])
        weak_1S = scaled_1S if side >= 0 else -scaled_1S
        spared = np.prod([1 - sigmoid(odds(weak_1S))[0] for odds in self.forehead.values()])
        return Weakness(
            side=Side.RIGHT if side >= 0 else Side.LEFT,
            side_probability=float(sigmoid(np.abs(side))),
            forehead=float(1 - spared),
            lower_face=float(sigmoid(self.lower(weak_1S))[0]),
        )

    def to_json(self) -> dict[str, Any]:
        """Return the model as JSON values; weights of 0 are left out."""
        return {
            "signs": list(SIGNS),
            "scale": np.round(self.scale_S, 5).tolist(),
            "side": _record(self.side),
            "forehead": {str(au): _record(odds) for au, odds in self.forehead.items()},
            "lower_face": _record(self.lower),
        }


def model_from_json(record: Mapping[str, Any]) -> WeaknessModel:
    """Return a model from :meth:`WeaknessModel.to_json`.

    Raises:
        ValueError: it was made for other signs.
    """
    if tuple(record["signs"]) != SIGNS:
        raise ValueError("the weights of the weak half are for other signs; make them again: python -m vitau.measures.fitting")
    return WeaknessModel(
        scale_S=np.array(record["scale"]),
        side=_odds(record["side"]),
        forehead={au: _odds(record["forehead"][au]) for au in FOREHEAD_SIGNS},
        lower=_odds(record["lower_face"]),
    )


@cache
def weakness_model() -> WeaknessModel:
    """Load the model of this package."""
    return model_from_json(json.loads(files(__package__).joinpath(WEIGHTS).read_text(encoding="utf-8")))


def fit_model(people: LabeledSigns) -> WeaknessModel:
    """Fit the weights, which all start equal; the side and the regions learn from palsied people.

    The lower face learns from palsied people with and without it, and from everybody else by the side that is found.
    """
    scale_S = np.sqrt((people.sign_PS[people.side_P != 0] ** 2).mean(axis=0))
    scaled_PS = people.sign_PS / scale_S
    palsied_P = people.side_P != 0
    side = _fit_side(scaled_PS[palsied_P], people.side_P[palsied_P] > 0)
    found_P = np.where(side(scaled_PS) >= 0, 1, -1)
    weak_PS = scaled_PS * np.where(palsied_P, people.side_P, found_P)[:, None]
    return WeaknessModel(
        scale_S=scale_S,
        side=side,
        forehead={
            au: _fit_region(weak_PS[palsied_P], people.regions[au][palsied_P], signs) for au, signs in FOREHEAD_SIGNS.items()
        },
        lower=_fit_region(weak_PS, people.lower_P, LOWER_SIGNS),
    )


def _fit_side(scaled_PS: Floats, right_P: NDArray[np.bool_]) -> Odds:
    # each person is met mirrored too: then both answers occur, and no bias is learned
    both_PS, both_P = np.concatenate([scaled_PS, -scaled_PS]), np.concatenate([right_P, ~right_P])
    return _fit(both_PS, both_P, SIDE_SIGNS, _equal(SIDE_SIGNS, _SIDE_SUM), _SIDE_STRENGTH)


def _fit_region(weak_PS: Floats, truth_P: NDArray[np.bool_], signs: Sequence[str]) -> Odds:
    return _fit(weak_PS, truth_P, signs, _equal(signs, _REGION_SUM, _BIAS), _REGION_STRENGTH)


def _equal(signs: Sequence[str], total: float, bias: float = 0.0) -> Odds:
    return Odds(weight_F=np.full(len(signs), total / len(signs)), bias=bias)


def _fit(sign_PS: Floats, truth_P: NDArray[np.bool_], signs: Sequence[str], prior: Odds, strength: float) -> Odds:
    columns = [SIGNS.index(sign) for sign in signs]
    fitted = fit_odds(sign_PS[:, columns], truth_P, prior, strength, with_bias=prior.bias != 0)
    weight_S = np.zeros(len(SIGNS))
    weight_S[columns] = fitted.weight_F
    return Odds(weight_F=weight_S, bias=fitted.bias)


def _record(odds: Odds) -> dict[str, Any]:
    weights = {SIGNS[number]: round(float(odds.weight_F[number]), 4) for number in np.flatnonzero(odds.weight_F)}
    return {"bias": round(odds.bias, 4), "weights": weights}


def _odds(record: Mapping[str, Any]) -> Odds:
    return Odds(weight_F=np.array([record["weights"].get(sign, 0.0) for sign in SIGNS]), bias=float(record["bias"]))
