import numpy as np
import pytest

from vitau.baselines.recognition.landmarks.correntropy import (
    Machine,
    MachineSettings,
    fit_machine,
    graph_laplacian,
    solve_output,
    solve_reweighted,
)


def test_the_laplacian_of_four_points_on_a_line():
    # nearest neighbors: 0→1, 1→0, 3→1 (distance 2), 7→3
    expected = [[1, -1, 0, 0], [-1, 2, -1, 0], [0, -1, 2, -1], [0, 0, -1, 1]]
    assert graph_laplacian(np.array([[0.0], [1.0], [3.0], [7.0]]), 1).tolist() == expected


def test_the_graph_has_no_more_neighbors_than_rows():
    assert graph_laplacian(np.array([[0.0], [1.0]]), 10).tolist() == [[1, -1], [-1, 1]]


def test_one_hidden_unit_is_solved_by_hand():
    # β = (1 + 2·(1·1 + 2·2) + 3)⁻¹ · 2·(1·1 + 2·(−1)) = −2 / 14
    unit, target = np.array([[1.0], [2.0]]), np.array([1.0, -1.0])
    assert solve_output(unit, target, np.array([2.0, 2.0]), np.array([[3.0]])) == pytest.approx([-2 / 14])


def test_unlabeled_rows_only_shape_the_graph():
    # G = 0.5 · [1 3] L [1 3]ᵀ = 0.5 · (3 − 1)² = 2;  β = 1·4·1 / (1 + 4·1 + 2) = 4 / 7
    unit, target, labeled = np.array([[1.0], [3.0]]), np.array([1.0, 0.0]), np.array([True, False])
    settings = MachineSettings(c=4.0, manifold=0.5, sigma=1e9)
    laplacian = np.array([[1.0, -1.0], [-1.0, 1.0]])
    assert solve_reweighted(unit, target, labeled, laplacian, settings) == pytest.approx([4 / 7])


def test_a_row_is_reweighted_by_its_error():
    unit, target, labeled = np.array([[1.0], [1.0], [1.0]]), np.array([1.0, 1.0, -1.0]), np.ones(3, bool)
    settings = MachineSettings(c=100.0, manifold=0.0, sigma=0.5)
    beta = 100.0 / 301  # all rows alike
    for _ in range(60):
        weight = 100 * np.exp(-((target - beta) ** 2) / 0.5)
        beta = (weight @ target) / (1 + weight.sum())
    assert beta > 0.9  # the outlier hardly counts
    assert solve_reweighted(unit, target, labeled, np.zeros((3, 3)), settings) == pytest.approx([beta], abs=1e-4)


def test_the_hidden_layer_is_a_logistic_curve_of_standardized_features():
    machine = Machine(
        mean_F=np.array([1.0]),
        scale_F=np.array([2.0]),
        weight_FH=np.array([[3.0]]),
        bias_H=np.array([0.5]),
        beta_H=np.array([2.0]),
    )
    assert machine.decide(np.array([[5.0]])) == pytest.approx([2 / (1 + np.exp(-6.5))])


def test_two_groups_are_told_apart_with_one_label_each():
    rng = np.random.default_rng(0)
    group = np.repeat([False, True], 30)
    features = rng.normal(0, 0.3, (60, 4)) + group[:, None] * 3
    known = np.array([0, 59])
    others = np.setdiff1d(np.arange(60), known)
    machine = fit_machine(
        features[known], group[known], features[others], MachineSettings(hidden=100, c=100.0, neighbors=5), seed=0
    )
    assert ((machine.decide(features) > 0) == group).all()
