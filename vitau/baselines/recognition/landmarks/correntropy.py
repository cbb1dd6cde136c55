"""A semi-supervised extreme learning machine with a correntropy loss, solved in closed form and reweighted.

One hidden layer with random weights, H = σ(XW + b), and an output β with

    β = (I + HᵀCΛH + λHᵀℒH)⁻¹ HᵀCΛY,

where ℒ is the Laplacian of the graph of nearest neighbors of all rows and C the weight of the labeled rows, 0 for the others.
Λ is the diagonal of the row weights exp(−e²/2σ²) for the error e of each row; they start at 1. So an outlier counts little.

J. Yang, J. Cao and others, *Regularized correntropy criterion based semi-supervised ELM*, Neural Networks, 2020.

Axes: R rows, F features, H hidden units.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

Floats = NDArray[np.float64]

_MOST_ROUNDS: Final = 20
_TOLERANCE: Final = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True)
class MachineSettings:
    """Constants of the machine.

    Attributes:
        hidden: number of random hidden units.
        c: weight of a labeled row.
        manifold: λ, weight of the Laplacian.
        sigma: width of the correntropy, in units of the labels −1 and 1.
        neighbors: of each row in the graph.
    """

    hidden: int = 1000
    c: float = 1.0
    manifold: float = 1e-3
    sigma: float = 1.0
    neighbors: int = 10


@dataclass(frozen=True, kw_only=True, eq=False)
class Machine:
    """A fitted machine: standardization, random hidden layer and output."""

    mean_F: Floats
    scale_F: Floats
    weight_FH: Floats
    bias_H: Floats
    beta_H: Floats

    def decide(self, feature_RF: NDArray[Any]) -> Floats:
        """Return the output (R,), near −1 for a healthy and 1 for a palsied row."""
        return self.hidden(feature_RF) @ self.beta_H

    def hidden(self, feature_RF: NDArray[Any]) -> Floats:
        """Return the hidden units (R, H), in 0 to 1."""
        activation_RH = (feature_RF - self.mean_F) / self.scale_F @ self.weight_FH + self.bias_H
        unit_RH: Floats = 1 / (1 + np.exp(-activation_RH))
        return unit_RH


def fit_machine(
    labeled_RF: NDArray[Any], palsied_R: NDArray[np.bool_], unlabeled_RF: NDArray[Any], settings: MachineSettings, seed: int
) -> Machine:
    """Fit the machine to labeled rows and to the shape of all rows.

    Args:
        labeled_RF: features of labeled rows.
        palsied_R: their labels.
        unlabeled_RF: features of other rows, which only shape the graph.
        settings: the constants.
        seed: of the hidden layer.
    """
    all_RF = np.concatenate([labeled_RF, unlabeled_RF]).astype(np.float64)
    mean_F, scale_F = all_RF.mean(0), all_RF.std(0)
    scale_F[scale_F == 0] = 1
    rng = np.random.default_rng(seed)
    weight_FH = rng.normal(0, 1 / np.sqrt(all_RF.shape[1]), (all_RF.shape[1], settings.hidden))
    bias_H = rng.uniform(-1, 1, settings.hidden)
    untrained = Machine(mean_F=mean_F, scale_F=scale_F, weight_FH=weight_FH, bias_H=bias_H, beta_H=np.zeros(settings.hidden))
    unit_RH = untrained.hidden(all_RF)
    target_R = np.concatenate([np.where(palsied_R, 1.0, -1.0), np.zeros(len(unlabeled_RF))])
    labeled_R = np.arange(len(all_RF)) < len(labeled_RF)
    laplacian_RR = graph_laplacian((all_RF - mean_F) / scale_F, settings.neighbors)
    beta_H = solve_reweighted(unit_RH, target_R, labeled_R, laplacian_RR, settings)
    return Machine(mean_F=mean_F, scale_F=scale_F, weight_FH=weight_FH, bias_H=bias_H, beta_H=beta_H)


def graph_laplacian(feature_RF: NDArray[Any], neighbors: int) -> Floats:
    """Return D − W (R, R), where W is 1 between rows of which one is among the nearest neighbors of the other."""
    count = min(neighbors, len(feature_RF) - 1)
    near_RR = np.asarray(NearestNeighbors(n_neighbors=count).fit(feature_RF).kneighbors_graph(mode="connectivity").todense())
    weight_RR = np.maximum(near_RR, near_RR.T).astype(np.float64)
    laplacian_RR: Floats = np.diag(weight_RR.sum(1)) - weight_RR
    return laplacian_RR


def solve_reweighted(
    unit_RH: Floats, target_R: Floats, labeled_R: NDArray[np.bool_], laplacian_RR: Floats, settings: MachineSettings
) -> Floats:
    """Solve for the output (H,) and reweight the rows by their errors, until it stays the same or for 20 rounds."""
    graph_HH = settings.manifold * unit_RH.T @ laplacian_RR @ unit_RH
    row_R: NDArray[Any] = labeled_R.astype(np.float64)
    beta_H = solve_output(unit_RH, target_R, settings.c * row_R, graph_HH)
    for _ in range(_MOST_ROUNDS - 1):
        error_R = target_R - unit_RH @ beta_H
        row_R = labeled_R * np.exp(-(error_R**2) / (2 * settings.sigma**2))
        before_H, beta_H = beta_H, solve_output(unit_RH, target_R, settings.c * row_R, graph_HH)
        if np.abs(beta_H - before_H).max() < _TOLERANCE:
            break
    return beta_H


def solve_output(unit_RH: Floats, target_R: Floats, weight_R: NDArray[Any], graph_HH: Floats) -> Floats:
    """Solve (I + HᵀΩH + G) β = HᵀΩY for β (H,), with the row weights Ω and the term G of the graph."""
    weighted_HR = unit_RH.T * weight_R
    solution_H: Floats = np.linalg.solve(np.eye(unit_RH.shape[1]) + weighted_HR @ unit_RH + graph_HH, weighted_HR @ target_R)
    return solution_H
