"""The fit of a fusion: movement on the training people, then the weights of network and movement on the validation people.

Axes: N frames, P people, A regions, M labeled pairs of person and region.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vitau.asymmetry.fusion import Blend, Fusion
from vitau.asymmetry.model import AsymmetryModel, fit_model
from vitau.asymmetry.people import people_of
from vitau.asymmetry.weights import load_weights
from vitau.data.dataset import Crops
from vitau.evaluation.decision import log_odds
from vitau.measures.geometry import Floats
from vitau.measures.weakness.odds import Odds, fit_odds
from vitau.schema import AUS
from vitau.training.tasks import Kind

NETWORK: Final = 0.75
"""Prior weight of recognition's log-odds. They count nearly as they are: a network that is unsure moves a person little."""
LARGEST: Final = 4.0
"""Usual size of a network's log-odds from which on they are divided: a network that is always certain counts no more."""
MOVEMENT: Final = 1.5
"""Prior weight of the log-odds of movement, whose own prior holds them back."""
REGION_NETWORK: Final = 0.5
"""Prior weight of the network's score of a region over its usual size: a usual network moves the log-odds by as much."""
REGION_MOVEMENT: Final = 1.0
"""Prior weight of the log-odds of movement of a region or of the side."""
STRENGTH: Final = 10.0
"""Strength of the prior of both weights; see :func:`vitau.measures.weakness.odds.fit_odds`."""

NO_THRESHOLDS: Final = (0.0,) * len(AUS)
"""Fused scores of regions are log-odds already: 0 divides. Thresholds by a few validation people would only add noise."""


def fit_movement(train: Crops) -> AsymmetryModel:
    """Fit the model of movement to training people, palsied and not, from the weights that drawn people taught.

    Args:
        train: their frames with ``movement_NF``; people without features teach nothing.
    """
    assert train.movement_NF is not None, "the crops of a recipe with movement carry its features"
    measured = train.where(np.asarray(np.isfinite(train.movement_NF).all(axis=1)))
    return fit_model(people_of(measured), load_weights(), one_cohort=True) if len(measured) else load_weights()


def fit_fusion(kind: Kind, movement: AsymmetryModel, val: Crops, scores: NDArray[Any]) -> Fusion:
    """Fit the weights of network and movement to validation people, near their prior.

    Args:
        kind: the task.
        movement: fitted to other people.
        val: validation frames with ``movement_NF``; of palsied people with labels for the regions.
        scores: the network's: probabilities (N,), or scores of regions (N, 8) or of their sides (N, 8, 2).
    """
    assert val.movement_NF is not None, "the crops of a recipe with movement carry its features"
    people, first_P, number_N = np.unique(val.subject_N, return_index=True, return_inverse=True)
    found = movement.log_odds(np.nan_to_num(val.movement_NF[first_P]))
    measured_P = np.asarray(np.isfinite(val.movement_NF[first_P]).all(axis=1))

    def by_person(value_NK: NDArray[Any]) -> Floats:
        return np.stack([value_NK[number_N == person].mean(axis=0) for person in range(len(people))])

    if kind == "palsy":
        network_P = by_person(log_odds(scores)[:, None])[:, 0]
        return Fusion(model=movement, task=_fit_palsy(network_P, found.palsy_P * measured_P, val.palsied_N[first_P]))
    known_PA, truth_PA = val.known_NA[first_P], val.affected_NA[first_P]
    region_PA = by_person(scores.max(-1) if scores.ndim == 3 else scores)
    movement_PA = found.affected_PA * measured_P[:, None]
    task = _fit_score(region_PA[known_PA], movement_PA[known_PA], truth_PA[known_PA])
    if scores.ndim == 2:
        return Fusion(model=movement, task=task)
    difference_P = by_person(scores[..., 0] - scores[..., 1]).mean(axis=1)
    sided_P2: NDArray[np.bool_] = np.asarray(val.sided_NA2[first_P].any(axis=1))
    one_P = sided_P2.sum(axis=1) == 1
    right_P, movement_P, truth_P = difference_P[one_P], (found.right_P * measured_P)[one_P], sided_P2[one_P, 0]
    # each person is met mirrored too, so that both answers occur
    both = np.concatenate([right_P, -right_P]), np.concatenate([movement_P, -movement_P]), np.concatenate([truth_P, ~truth_P])
    return Fusion(model=movement, task=task, side=_fit_score(*both))


def _fit_palsy(network_P: Floats, movement_P: Floats, truth_P: NDArray[np.bool_]) -> Blend:
    return _fit(network_P, movement_P, truth_P, (NETWORK, MOVEMENT), max(1.0, _usual_size(network_P) / LARGEST))


def _fit_score(network_M: Floats, movement_M: Floats, truth_M: NDArray[np.bool_]) -> Blend:
    return _fit(network_M, movement_M, truth_M, (REGION_NETWORK, REGION_MOVEMENT), _usual_size(network_M) or 1.0)


def _usual_size(value_M: Floats) -> float:
    return float(np.sqrt((value_M**2).mean())) if len(value_M) else 0.0


def _fit(
    network_M: Floats, movement_M: Floats, truth_M: NDArray[np.bool_], weights: tuple[float, float], divisor: float
) -> Blend:
    """Fit the weights of the network's score over a divisor and of movement, near those of before."""
    odds = Odds(weight_F=np.array(weights))
    if len(truth_M):
        odds = fit_odds(np.column_stack([network_M / divisor, movement_M]), truth_M, odds, STRENGTH, with_bias=False)
    network, movement = np.maximum(odds.weight_F, 0.0)  # a part that misleads a few people is left out, not reversed
    return Blend(network=round(float(network) / divisor, 6), movement=round(float(movement), 6))
