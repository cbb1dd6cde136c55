"""The threshold of recognition and the scale of a probability."""

import numpy as np
import pytest

from vitau.evaluation.thresholds import best_threshold, fit_scale


@pytest.mark.parametrize(
    ("scores", "expected"),
    [((0.1, 0.2, 0.6, 0.9), 0.5), ((0.1, 0.2, 0.3, 0.9), 0.29), ((0.6, 0.7, 0.8, 0.9), 0.71), ((0.1, 0.2, 0.2, 0.9), 0.5)],
)
def test_the_best_threshold_is_the_one_nearest_to_a_half(scores: tuple[float, ...], expected: float) -> None:
    chosen = best_threshold(["a", "b", "c", "d"], np.array([0, 0, 1, 1], bool), np.array(scores))
    assert chosen == pytest.approx(expected)


def test_without_two_classes_the_threshold_is_a_half() -> None:
    assert best_threshold(["a", "b"], np.array([True, True]), np.array([0.1, 0.2])) == 0.5


def test_the_scale_maximizes_the_likelihood() -> None:
    rng = np.random.default_rng(0)
    margin = rng.normal(0, 0.05, 20_000)
    truth = rng.random(20_000) < 1 / (1 + np.exp(-40 * margin))
    assert fit_scale(margin, truth) == pytest.approx(40, rel=0.05)
    assert fit_scale(-margin, truth) < 1e-6
    assert fit_scale(np.zeros(0), np.zeros(0, bool)) == 1.0
    sure = 1 / (1 + np.exp(-fit_scale(np.array([-1.0, 1.0]), np.array([False, True]))))
    assert 0.6 < sure < 0.7  # two people do not yield certainty: Platt's targets are 1/3 and 2/3
