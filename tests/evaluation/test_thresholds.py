"""The thresholds of recognition and of the regions, and the scale of a probability."""

import numpy as np
import pytest

from vitau.evaluation.decision import Calibration, log_odds, sigmoid
from vitau.evaluation.thresholds import abstention_band, best_threshold, fit_calibration, fit_scale, region_thresholds


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


def recognized(values: list[float], truths: list[bool]) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return people with one frame each, whose scores have these log-odds."""
    return [f"p{index:05d}" for index in range(len(values))], np.array(truths, bool), sigmoid(np.array(values))


def test_the_calibration_of_many_people_is_the_curve_that_drew_them() -> None:
    rng = np.random.default_rng(1)
    value = rng.normal(0, 1.5, 20_000)
    truth = rng.random(20_000) < sigmoid(2.5 * value - 1)
    found = fit_calibration(*recognized(value.tolist(), truth.tolist()))
    assert found.scale == pytest.approx(2.5, rel=0.05)
    assert found.bias == pytest.approx(-1, abs=0.06)


def test_a_few_people_without_an_error_do_not_make_every_score_certain() -> None:
    subjects, truth, score = recognized([-3.0] * 5 + [3.0] * 5, [False] * 5 + [True] * 5)
    found = fit_calibration(subjects, truth, score)
    assert 1 < found.scale < 1.6
    assert found.bias == pytest.approx(0, abs=1e-3)
    reverse = fit_calibration(subjects, ~truth, score)
    assert 0 < reverse.scale < 0.3, "a model that is always wrong is calibrated towards a half, never turned around"


def test_a_shifted_model_is_shifted_back() -> None:
    found = fit_calibration(*recognized([1.0] * 20 + [5.0] * 20, [False] * 20 + [True] * 20))
    assert found.bias < -1
    assert found.apply(sigmoid(np.array([1.0])))[0] < 0.4 < sigmoid(np.array([1.0]))[0]


def test_a_person_counts_once_in_the_calibration_however_many_frames_there_are() -> None:
    subjects, truth, score = recognized([-2.0, -1.0, 0.5, 1.0, 2.0], [False, True, False, True, True])
    many = [*subjects, *["p00001"] * 50]
    repeated = fit_calibration(many, np.append(truth, [True] * 50), np.append(score, [score[1]] * 50))
    once = fit_calibration(subjects, truth, score)
    assert (repeated.scale, repeated.bias) == pytest.approx((once.scale, once.bias), abs=1e-5)


def test_people_of_one_class_leave_the_scores_as_they_are() -> None:
    assert fit_calibration(["a", "b"], np.array([True, True]), np.array([0.6, 0.9])) == Calibration()


def test_the_calibration_is_where_the_slope_of_the_posterior_is_zero() -> None:
    rng = np.random.default_rng(5)
    value = rng.normal(0, 2, 30)
    subjects, truth, score = recognized(value.tolist(), (rng.random(30) < sigmoid(value)).tolist())
    found = fit_calibration(subjects, truth, score)
    error = sigmoid(found.scale * log_odds(score) + found.bias) - truth
    assert (error * found.scale * log_odds(score)).sum() + 4 * np.log(found.scale) == pytest.approx(0, abs=1e-3)
    assert error.sum() + 4 * found.bias == pytest.approx(0, abs=1e-3)


def test_the_band_of_separated_people_is_the_gap_between_them() -> None:
    score = np.array([0.1, 0.3, 0.6, 0.9])
    assert abstention_band(list("abcd"), np.array([0, 0, 1, 1], bool), score, 0.5) == pytest.approx((0.3, 0.6))


def test_the_band_of_people_who_overlap_contains_the_overlap() -> None:
    score = np.array([0.1, 0.7, 0.4, 0.9])
    assert abstention_band(list("abcd"), np.array([0, 0, 1, 1], bool), score, 0.5) == pytest.approx((0.4, 0.7))


def test_the_band_contains_the_threshold_even_without_people_of_a_class() -> None:
    assert abstention_band(["a", "b"], np.array([True, True]), np.array([0.6, 0.9]), 0.5) == pytest.approx((0.5, 0.6))
    assert abstention_band(["a", "b"], np.array([False, False]), np.array([0.1, 0.2]), 0.5) == pytest.approx((0.2, 0.5))


def test_of_new_people_no_more_than_a_tenth_is_wrong_without_a_warning() -> None:
    """The share of each class beyond the band on the wrong side, on average over draws of 40 validation people."""
    rng = np.random.default_rng(2)
    unwarned = []
    for _ in range(200):
        truth = np.arange(40) % 2 == 0
        value = rng.normal(np.where(truth, 1.0, -1.0), 1.2)
        low, high = abstention_band(*recognized(value.tolist(), truth.tolist()), 0.5)
        unwarned.append([(sigmoid(rng.normal(1, 1.2, 400)) < low).mean(), (sigmoid(rng.normal(-1, 1.2, 400)) > high).mean()])
    assert (np.mean(unwarned, axis=0) <= 0.1).all()
    assert (np.mean(unwarned, axis=0) > 0.06).all(), "a band that is too wide marks everybody"
