"""Simulation of active learning: label people with known truth in batches, and measure how many labels an order saves.

The model is scikit-learn's ridge-penalized logistic regression per region. It sees a label only after the order has requested
it, and is measured on held-out people.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from labeling.sampling.active_learning import informative_order, random_order, varied_order
from vitau.evaluation.bootstrap import Interval, percentile_interval, resample_indices

Array: TypeAlias = NDArray[np.float64]
Auroc: TypeAlias = Callable[[NDArray[np.bool_], Array], float]
"""(T, A) truth and (T, A) probability of held-out people → mean AUROC over regions."""

ORDERS: Final = ("informative", "varied", "random")
NUM_RESAMPLES: Final = 2000


@dataclass(frozen=True, kw_only=True)
class Population:
    """People to label and held-out people: features (S, D), movement (S, 68), and affected regions (S, A)."""

    feature_SD: Array
    movement_SM: Array
    truth_SA: NDArray[np.bool_]
    held_out_feature_TD: Array
    held_out_truth_TA: NDArray[np.bool_]


@dataclass(frozen=True, kw_only=True)
class Curve:
    """AUROC on held-out people by number of labels, for one order in one population."""

    order: str
    num_labels: tuple[int, ...]
    auroc: tuple[float, ...]

    def needed(self, target: float) -> int | None:
        """Return the smallest number of labels with an AUROC of at least ``target``, ``None`` if there is none."""
        return next((num for num, reached in zip(self.num_labels, self.auroc, strict=True) if reached >= target), None)


@dataclass(frozen=True, kw_only=True)
class Saving:
    """Labels that an order needs for an AUROC, and how many fewer than a random order: means over populations, 95 % intervals.

    A population that does not reach the AUROC counts with all its labels, and in ``num_missed``.
    """

    order: str
    target: float
    needed: float
    needed_interval: Interval | None
    saved: float
    saved_interval: Interval | None
    num_missed: int


def simulate(people: Population, order: str, *, auroc: Auroc, first: int, batch: int, seed: int) -> Curve:
    """Label ``people`` in an order, ``batch`` at a time, and measure a model after each batch.

    Args:
        people: the population, with its truth.
        order: one of ``ORDERS``; ``informative`` uses the probabilities of the current model, as the flow does.
        auroc: the metric on held-out people.
        first: the number of people drawn at random at the start, the same for every order of a seed.
        batch: people per step, the length of a reader's queue.
        seed: of the start, and of the order ``random``.

    Raises:
        ValueError: an unknown order.
    """
    names = [str(number) for number in range(len(people.truth_SA))]
    asked = random_order(names, seed=seed)[:first]
    num_labels, reached = [], []
    while True:
        weights_DA = fit(people.feature_SD[asked], people.truth_SA[asked])
        num_labels.append(len(asked))
        reached.append(auroc(people.held_out_truth_TA, predict(people.held_out_feature_TD, weights_DA)))
        left = [index for index in range(len(names)) if index not in set(asked)]
        if not left:
            return Curve(order=order, num_labels=tuple(num_labels), auroc=tuple(reached))
        asked = asked + [left[place] for place in _next(people, order, weights_DA, asked, left, batch, seed)]


def fit(feature_ND: Array, truth_NA: NDArray[np.bool_]) -> Array:
    """Fit a logistic regression for each region: weights (D + 1, A), the last row an intercept without penalty.

    A region that is the same in all people gets only an intercept, from the smoothed share of its labels.
    """
    from sklearn.linear_model import LogisticRegression

    share_A = (truth_NA.sum(axis=0) + 1) / (len(truth_NA) + 2)
    weights_DA = np.zeros((feature_ND.shape[1] + 1, truth_NA.shape[1]))
    weights_DA[-1] = np.log(share_A / (1 - share_A))
    for region, truth_N in enumerate(truth_NA.T):
        if truth_N.any() and not truth_N.all():
            model = LogisticRegression(solver="newton-cholesky", tol=1e-8).fit(feature_ND, truth_N)
            weights_DA[:, region] = [*model.coef_[0], model.intercept_[0]]
    return weights_DA


def predict(feature_ND: Array, weights_DA: Array) -> Array:
    """Compute the probabilities (N, A) from the weights of :func:`fit`."""
    return _sigmoid(feature_ND @ weights_DA[:-1] + weights_DA[-1])


def savings(curves: Sequence[Sequence[Curve]], target: float, *, seed: int = 0) -> list[Saving]:
    """Compute how many labels each order saves compared with ``random``, from the curves of all orders by population."""
    needed: dict[str, list[int]] = {}
    missed: dict[str, int] = {}
    for population in curves:
        for curve in population:
            found = curve.needed(target)
            needed.setdefault(curve.order, []).append(curve.num_labels[-1] if found is None else found)
            missed[curve.order] = missed.get(curve.order, 0) + (found is None)
    chance = np.array(needed["random"], dtype=np.float64)
    drawn_RP = resample_indices(len(chance), NUM_RESAMPLES, seed)
    return [
        Saving(
            order=order,
            target=target,
            needed=float(np.mean(counts)),
            needed_interval=percentile_interval(np.array(counts, dtype=np.float64)[drawn_RP].mean(axis=1)),
            saved=float(np.mean(chance - counts)),
            saved_interval=percentile_interval((chance - counts)[drawn_RP].mean(axis=1)),
            num_missed=missed[order],
        )
        for order, counts in needed.items()
    ]


def principal_components(feature_SD: Array, held_out_TD: Array, num: int) -> tuple[Array, Array]:
    """Project on the first ``num`` principal components of the people to label, at unit variance.

    N people span N - 1 components: one more would scale rounding errors up to unit variance.

    Returns:
        The projections of the people to label and of the held-out people.
    """
    from sklearn.decomposition import PCA

    components = PCA(min(num, len(feature_SD) - 1, feature_SD.shape[1]), whiten=True, svd_solver="full").fit(feature_SD)
    return components.transform(feature_SD), components.transform(held_out_TD)


def _next(
    people: Population, order: str, weights_DA: Array, asked: Sequence[int], left: Sequence[int], batch: int, seed: int
) -> list[int]:
    choose: Mapping[str, Callable[[], list[int]]] = {
        "informative": lambda: informative_order(
            predict(people.feature_SD[left], weights_DA), predict(people.feature_SD[asked], weights_DA), batch
        ),
        "varied": lambda: varied_order(people.movement_SM[left], people.movement_SM[asked], batch),
        "random": lambda: random_order([str(index) for index in left], seed=seed)[:batch],
    }
    if order not in choose:
        raise ValueError(f"no order {order!r}; there are {', '.join(ORDERS)}")
    return choose[order]()


def _sigmoid(z: Array) -> Array:
    p: Array = 0.5 * (1 + np.tanh(z / 2))
    return p
