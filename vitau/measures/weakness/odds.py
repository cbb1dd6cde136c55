"""Logistic weights that stay near prior ones, so that few people change them little.

Axes: P people, F features.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitau.measures.geometry import Floats


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Odds:
    """Log-odds: ``weight_F`` of features, and ``bias``."""

    weight_F: Floats
    bias: float = 0.0

    def __call__(self, feature_PF: Floats) -> Floats:
        """Return the log-odds (P,)."""
        odds_P: Floats = feature_PF @ self.weight_F + self.bias
        return odds_P


def fit_odds(feature_PF: Floats, truth_P: NDArray[np.bool_], prior: Odds, strength: float, *, with_bias: bool = True) -> Odds:
    """Return the weights with the largest posterior probability under a normal prior.

    Each answer weighs as much as its people, the more frequent one no more than the rarer one. So few people of one answer
    change the prior little, however many gave the other. Without people of both answers it is the prior.

    Args:
        feature_PF: (P, F).
        truth_P: the answers.
        prior: mean of the prior.
        strength: half of its precision: the number of people that outweigh it grows with it.
        with_bias: fit the bias too; else it stays that of the prior.
    """
    from scipy.optimize import minimize  # a fitted model answers without SciPy

    if len(np.unique(truth_P)) < 2:
        return prior
    design_PD = np.column_stack([feature_PF, np.ones(len(feature_PF))])
    prior_D = np.append(prior.weight_F, prior.bias)
    free_D = np.append(np.ones(len(prior.weight_F)), float(with_bias))
    sign_P = np.where(truth_P, 1.0, -1.0)
    num_P = np.where(truth_P, truth_P.sum(), (~truth_P).sum())
    weight_P = num_P.min() / num_P

    def loss(value_D: Floats) -> tuple[float, Any]:
        against_P = -sign_P * (design_PD @ value_D)
        error_P = weight_P / (1 + np.exp(-against_P))
        away_D = value_D - prior_D
        gradient_D = -(error_P * sign_P) @ design_PD * free_D + 2 * strength * away_D
        return float(weight_P @ np.logaddexp(0, against_P) + strength * away_D @ away_D), gradient_D

    found_D = minimize(loss, prior_D, jac=True, method="L-BFGS-B").x
    return Odds(weight_F=found_D[:-1], bias=float(found_D[-1]))
