import numpy as np
import pytest

from vitau.measures.weakness.odds import Odds, fit_odds

PRIOR = Odds(weight_F=np.array([0.5, 0.5]), bias=-1.0)


@pytest.fixture
def truth() -> np.ndarray:
    return np.arange(60) % 3 == 0


@pytest.fixture
def features(truth: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1, (60, 2)) + np.outer(truth, (2.0, 0.0))


def test_a_strong_prior_stays_and_a_weak_one_gives_way_to_the_people(features: np.ndarray, truth: np.ndarray) -> None:
    strong, weak = (fit_odds(features, truth, PRIOR, strength) for strength in (1e6, 0.1))
    assert np.allclose(strong.weight_F, PRIOR.weight_F, atol=1e-3)
    assert weak.weight_F[0] > 1.0
    assert weak.weight_F[1] < 0.5


def test_more_people_of_the_frequent_answer_change_nothing(features: np.ndarray, truth: np.ndarray) -> None:
    rows = np.concatenate([np.arange(60), np.repeat(np.flatnonzero(~truth), 4)])
    once, repeated = fit_odds(features, truth, PRIOR, 1.0), fit_odds(features[rows], truth[rows], PRIOR, 1.0)
    assert np.allclose(once.weight_F, repeated.weight_F, atol=1e-3)
    assert np.isclose(once.bias, repeated.bias, atol=1e-3)


def test_one_answer_alone_teaches_nothing(features: np.ndarray) -> None:
    assert fit_odds(features, np.ones(60, bool), PRIOR, 0.1) is PRIOR


def test_without_a_bias_that_of_the_prior_stays(features: np.ndarray, truth: np.ndarray) -> None:
    assert fit_odds(features, truth, PRIOR, 0.1, with_bias=False).bias == PRIOR.bias
