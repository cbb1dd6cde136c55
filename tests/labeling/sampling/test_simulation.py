"""Simulation of active learning: the model sees only requested labels, and savings are counted against a random order."""

from dataclasses import replace

import numpy as np
import pytest

from labeling.sampling.active_learning import random_order
from labeling.sampling.simulation import ORDERS, Curve, Population, fit, predict, principal_components, savings, simulate


def population(seed: int = 0, people: int = 60, held_out: int = 80) -> Population:
    """Draw people whose two regions depend on four of eight features, with noise."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(people + held_out, 8))
    truth = features[:, :2] + features[:, 2:4] + rng.normal(0, 0.3, (len(features), 2)) > 0.5
    return Population(
        feature_SD=features[:people],
        movement_SM=features[:people],
        truth_SA=truth[:people],
        held_out_feature_TD=features[people:],
        held_out_truth_TA=truth[people:],
    )


def auroc(truth_TA, probability_TA) -> float:
    pairs = [
        (p[t][:, None] > p[~t][None]).mean() for t, p in zip(truth_TA.T, probability_TA.T, strict=True) if 0 < t.mean() < 1
    ]
    return float(np.mean(pairs))


@pytest.mark.parametrize("order", ORDERS)
def test_all_orders_have_the_same_start_and_end_and_learn_in_between(order):
    curves = [simulate(population(), name, auroc=auroc, first=10, batch=7, seed=4) for name in (order, "random")]
    one, chance = curves
    assert one.num_labels == (10, 17, 24, 31, 38, 45, 52, 59, 60)
    assert (one.auroc[0], one.auroc[-1]) == (chance.auroc[0], pytest.approx(chance.auroc[-1]))
    assert one.auroc[-1] > one.auroc[0] + 0.03
    assert one.auroc[-1] > 0.9


def test_a_label_that_was_not_requested_has_no_effect():
    def seen(people: Population) -> list[np.ndarray]:
        found: list[np.ndarray] = []

        def watch(_, probability):
            found.append(probability)
            return 0.5

        simulate(people, "random", auroc=watch, first=10, batch=25, seed=1)
        return found

    people = population()
    first = random_order([str(number) for number in range(60)], seed=1)[:10]
    turned = np.isin(np.arange(60), first, invert=True)
    other = replace(people, truth_SA=people.truth_SA ^ turned[:, None])
    (one, *later), (same, *differ) = seen(people), seen(other)
    assert np.array_equal(one, same)
    assert all(not np.allclose(a, b) for a, b in zip(later, differ, strict=True))


def test_the_model_is_at_the_optimum():
    """At the optimum the penalized gradient is zero; a region that all people have gets its smoothed share."""
    people = population(people=40)
    truth = np.column_stack([people.truth_SA, np.ones(40, dtype=bool)])
    weights = fit(people.feature_SD, truth)
    probability = predict(people.feature_SD, weights)
    gradient = people.feature_SD.T @ (probability - truth)[:, :2] + weights[:-1, :2]
    assert np.abs(gradient).max() < 1e-6
    assert probability[:, 2].tolist() == pytest.approx([41 / 42] * 40)


def test_savings_are_relative_to_a_random_order_and_missed_targets_are_counted():
    def curve(order: str, *reached: float) -> Curve:
        return Curve(order=order, num_labels=(10, 20, 30), auroc=reached)

    curves = [
        [curve("informative", 0.6, 0.8, 0.9), curve("random", 0.5, 0.6, 0.8)],
        [curve("informative", 0.8, 0.8, 0.9), curve("random", 0.5, 0.8, 0.7)],
        [curve("informative", 0.6, 0.7, 0.7), curve("random", 0.5, 0.6, 0.8)],
    ]
    informative, chance = savings(curves, 0.8)
    assert (informative.needed, informative.saved, informative.num_missed) == (20, pytest.approx(20 / 3), 1)
    assert informative.saved_interval == (0, 10)
    assert (chance.needed, chance.saved, chance.saved_interval, chance.num_missed) == (pytest.approx(80 / 3), 0, (0, 0), 0)


def test_components_are_those_of_the_people_to_label_at_unit_variance():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 6)) @ np.diag([5, 3, 1, 0.1, 0.1, 0.1])
    some, rest = principal_components(features, features[:3], 2)
    assert np.allclose(np.cov(some.T), np.eye(2))
    assert np.allclose(rest, some[:3])


def test_few_people_have_no_component_of_rounding_errors():
    rng = np.random.default_rng(0)
    people, rest = rng.normal(size=(10, 200)), rng.normal(size=(5, 200))
    order = rng.permutation(200)
    one, other = principal_components(people, rest, 40), principal_components(people[:, order], rest[:, order], 40)
    assert one[0].shape == (10, 9)
    for first, second in zip(one, other, strict=True):  # the sum of the same numbers in another order; signs are free
        assert np.allclose(np.abs(first), np.abs(second), atol=1e-6)


def test_an_unknown_order_is_refused():
    with pytest.raises(ValueError, match="no order 'alphabetical'; there are informative, varied, random"):
        simulate(population(), "alphabetical", auroc=auroc, first=10, batch=10, seed=0)
