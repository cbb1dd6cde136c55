"""The thresholds of recognition and of the regions, and the scale of a probability."""

import numpy as np
import pytest

from vitau.evaluation.thresholds import best_threshold, fit_scale, region_thresholds


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


def people(places: tuple[float, ...], count: int, slope: float = 12.0) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return people whose regions are affected with a probability that is a half at a place of each region."""
    rng = np.random.default_rng(3)
    score = rng.normal(0, 0.4, (count, len(places)))
    truth = rng.random(score.shape) < 1 / (1 + np.exp(-slope * (score - np.array(places))))
    return [f"p{index:05d}" for index in range(count)], truth, score


def test_with_many_people_each_region_has_its_own_threshold() -> None:
    places = (0.3, -0.2, 0.0)
    names, truth, score = people(places, 5000)
    found = region_thresholds(names, truth, score, np.ones_like(truth))
    assert found == pytest.approx(places, abs=0.02)
    known = np.ones_like(truth)
    known[:, 1] = False
    assert region_thresholds(names, truth, score, known)[1] == pytest.approx(np.mean([found[0], found[2]]), abs=0.05)


def test_with_few_people_the_thresholds_lie_near_a_common_one() -> None:
    names, truth, score = people((0.15,) * 8, 10)
    found = region_thresholds(names, truth, score, np.ones_like(truth))
    assert np.mean(found) == pytest.approx(0.15, abs=0.08)
    alone = [region_thresholds(names, truth[:, [i]], score[:, [i]], np.ones((10, 1), bool))[0] for i in range(8)]
    assert np.std(found) < 0.6 * np.std(alone)


@pytest.mark.parametrize(
    ("truth", "score"),
    [([True, True], [0.1, 0.4]), ([True, False], [0.3, 0.3]), ([True, False], [-0.5, 0.5])],
    ids=["one class", "equal scores", "scores that are the wrong way round"],
)
def test_scores_that_say_nothing_leave_the_thresholds_at_0(truth: list[bool], score: list[float]) -> None:
    affected = np.array(truth)[:, None]
    assert region_thresholds(["a", "b"], affected, np.array(score)[:, None], np.ones_like(affected)) == (0.0,)
