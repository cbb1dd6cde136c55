"""The model of asymmetric movement: log-odds of the side, of a palsy and of each region, as weighted sums of few features.

The side has no bias, so that its log-odds change their sign in the mirror image. For all other questions the features are
taken with the sign of the side that was found: "does that side move less". So a mirrored face has the same answers.

Axes: P people, F features, A regions.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from vitau.asymmetry.features import FEATURES, Feature, People, kind_features, region_features
from vitau.errors import TrainingError
from vitau.evaluation.decision import sigmoid
from vitau.measures.geometry import Floats
from vitau.measures.weakness.odds import Odds, fit_odds
from vitau.schema import AU, AUS, Side

DEFAULT_KINDS: Final = ("movement", "rest", "texture")
"""Kinds of features that the model uses."""
STRENGTH: Final = 30.0
"""Strength of the prior; see :func:`vitau.measures.weakness.odds.fit_odds`."""

_SUM: Final = 2.0
"""Sum of the prior weights: a person with a usual palsy has features of about 1, and then log-odds of 1 with the bias."""
_BIAS: Final = -1.0
_WIDER: Final = frozenset({Feature(kind="rest", place="lid_gap")})
"""Features that are negative where the right side is weak: a palsied eye is wider at rest."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Answers:
    """Answers about P people.

    ``right_P`` is the probability that the right side is the weaker one, if one is; ``palsy_P`` that of a palsy with equal
    odds before; ``affected_PA`` (P, 8) those of the regions of a palsied person.
    """

    right_P: Floats
    palsy_P: Floats
    affected_PA: Floats


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class LogOdds:
    """The log-odds of the answers about P people: ``right_P``, ``palsy_P``, and ``affected_PA`` (P, 8)."""

    right_P: Floats
    palsy_P: Floats
    affected_PA: Floats


@dataclass(frozen=True, kw_only=True, slots=True)
class Contribution:
    """The log-odds that one feature of a person adds.

    ``side`` is the side that moves, changes or hangs in the way of a weak one by this feature alone.
    """

    feature: Feature
    side: Side
    log_odds: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class AsymmetryModel:
    """Weights of features that are divided by ``scale_F``; ``regions`` are in the order of ``AUS``."""

    scale_F: Floats
    side: Odds
    palsy: Odds
    regions: tuple[Odds, ...]

    def answer(self, feature_PF: Floats) -> Answers:
        """Return the answers about people with features (P, F)."""
        found = self.log_odds(feature_PF)
        return Answers(right_P=sigmoid(found.right_P), palsy_P=sigmoid(found.palsy_P), affected_PA=sigmoid(found.affected_PA))

    def log_odds(self, feature_PF: Floats) -> LogOdds:
        """Return the log-odds of the answers about people with features (P, F)."""
        scaled_PF = feature_PF / self.scale_F
        right_P = self.side(scaled_PF)
        weak_PF = scaled_PF * _sign(right_P)[:, None]
        affected_PA = np.stack([region(weak_PF) for region in self.regions], axis=1)
        return LogOdds(right_P=right_P, palsy_P=self.palsy(weak_PF), affected_PA=affected_PA)

    def explain(self, feature_F: Floats, region: AU | None = None) -> list[Contribution]:
        """Return what each feature adds to the log-odds of a palsy, or of a region, the largest amount first.

        With the bias, the contributions add up to the log-odds. Features without weight are left out.
        """
        odds = self.palsy if region is None else self.regions[AUS.index(region)]
        scaled_F = feature_F / self.scale_F
        weak_F = scaled_F * _sign(self.side(scaled_F[None]))[0]
        expected_F = _expected_signs() * scaled_F
        found = [
            Contribution(
                feature=FEATURES[number],
                side=Side.RIGHT if expected_F[number] >= 0 else Side.LEFT,
                log_odds=float(odds.weight_F[number] * weak_F[number]),
            )
            for number in np.flatnonzero(odds.weight_F).tolist()
        ]
        return sorted(found, key=lambda contribution: -abs(contribution.log_odds))

    def to_json(self) -> dict[str, Any]:
        """Return the model as JSON values; weights of 0 are left out."""
        return {
            "features": [feature.name for feature in FEATURES],
            "scale": np.round(self.scale_F, 5).tolist(),
            "side": _record(self.side),
            "palsy": _record(self.palsy),
            "regions": {str(au): _record(odds) for au, odds in zip(AUS, self.regions, strict=True)},
        }


def model_from_json(record: Mapping[str, Any]) -> AsymmetryModel:
    """Return a model from :meth:`AsymmetryModel.to_json`.

    Raises:
        ValueError: it was made for other features.
    """
    if record["features"] != [feature.name for feature in FEATURES]:
        raise ValueError("the weights were made for other features; fit them again: python -m vitau.asymmetry fit")
    return AsymmetryModel(
        scale_F=np.array(record["scale"]),
        side=_odds(record["side"]),
        palsy=_odds(record["palsy"]),
        regions=tuple(_odds(record["regions"][au]) for au in AUS),
    )


def equal_weights(scale_F: Floats, kinds: Sequence[str] = DEFAULT_KINDS) -> AsymmetryModel:
    """Return the model in which all features of a question count equally: what is known before anybody is seen."""
    regions = tuple(_equal(region_features(au, kinds), _BIAS) for au in AUS)
    everything = kind_features(kinds)
    return AsymmetryModel(scale_F=scale_F, side=_equal(everything, 0.0), palsy=_equal(everything, _BIAS), regions=regions)


def fit_model(
    people: People,
    prior: AsymmetryModel | None = None,
    *,
    strength: float = STRENGTH,
    kinds: Sequence[str] = DEFAULT_KINDS,
    one_cohort: bool = False,
) -> AsymmetryModel:
    """Fit the weights to people; few of them change the prior little.

    The side is learned from palsied people with one affected side, a region from palsied people with a label of it. A question
    that nobody answers, or everybody in the same way, keeps the prior's weights.

    Args:
        people: the training people.
        prior: weights to start from, with their features; by default all features of a question count equally.
        strength: of the prior.
        kinds: of features, if no prior is given.
        one_cohort: accept palsied people or controls alone; what they do not answer keeps the prior's weights.

    Raises:
        TrainingError: no palsied person or no control has a feature.
    """
    if not one_cohort and len({*people.palsied_P.tolist()}) < 2:
        raise TrainingError("movement is learned from palsied people and controls; label at least one of each")
    prior = prior or equal_weights(usual_sizes(people.feature_PF), kinds)
    scaled_PF = people.feature_PF / prior.scale_F
    side = _fit_side(people, scaled_PF, prior.side, strength)
    found_P = _sign(side(scaled_PF))
    palsy = _fit(scaled_PF * found_P[:, None], people.palsied_P, prior.palsy, strength)
    # the true side where it is known: regions must not learn from features with a wrong sign
    weak_PF = scaled_PF * np.where(people.side_P == 0, found_P, people.side_P)[:, None]
    regions = []
    for number, region in enumerate(prior.regions):
        labeled_P = people.palsied_P & people.known_PA[:, number]
        regions.append(_fit(weak_PF[labeled_P], people.affected_PA[labeled_P, number], region, strength))
    return AsymmetryModel(scale_F=prior.scale_F, side=side, palsy=palsy, regions=tuple(regions))


def usual_sizes(feature_PF: Floats) -> Floats:
    """Return the root mean square of each feature over people, (F,); 1 where nobody has one."""
    size_F: Floats = np.sqrt((feature_PF**2).mean(axis=0))
    return np.where(size_F > 0, size_F, 1.0)


def _fit_side(people: People, scaled_PF: Floats, prior: Odds, strength: float) -> Odds:
    one_sided_P = people.palsied_P & (people.side_P != 0)
    own_PF, right_P = scaled_PF[one_sided_P], people.side_P[one_sided_P] > 0
    if not len(right_P):
        return prior
    # each person is met mirrored too: then both answers occur, and no bias is learned
    both_PF, both_P = np.concatenate([own_PF, -own_PF]), np.concatenate([right_P, ~right_P])
    return _fit(both_PF, both_P, prior, 2 * strength, with_bias=False)


def _fit(feature_PF: Floats, truth_P: Any, prior: Odds, strength: float, *, with_bias: bool = True) -> Odds:
    """Fit the weights that the prior has; features without one stay without."""
    column_F = np.flatnonzero(prior.weight_F)
    own = Odds(weight_F=prior.weight_F[column_F], bias=prior.bias)
    fitted = fit_odds(feature_PF[:, column_F], truth_P, own, strength, with_bias=with_bias)
    weight_F = np.zeros_like(prior.weight_F)
    weight_F[column_F] = fitted.weight_F
    return Odds(weight_F=weight_F, bias=fitted.bias)


def _equal(columns: Sequence[int], bias: float) -> Odds:
    weight_F = np.zeros(len(FEATURES))
    weight_F[list(columns)] = _SUM / len(columns)
    return Odds(weight_F=weight_F * _expected_signs(), bias=bias)


def _expected_signs() -> Floats:
    return np.array([-1.0 if feature in _WIDER else 1.0 for feature in FEATURES])


def _sign(odds_P: Floats) -> Floats:
    return np.where(odds_P >= 0, 1.0, -1.0)


def _record(odds: Odds) -> dict[str, Any]:
    weights = {FEATURES[number].name: round(float(odds.weight_F[number]), 5) for number in np.flatnonzero(odds.weight_F)}
    return {"bias": round(odds.bias, 5), "weights": weights}


def _odds(record: Mapping[str, Any]) -> Odds:
    return Odds(weight_F=np.array([record["weights"].get(feature.name, 0.0) for feature in FEATURES]), bias=record["bias"])
