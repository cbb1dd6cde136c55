import numpy as np
import pytest

from vitau.errors import VitauError
from vitau.measures.asymmetry import SIDE_WEIGHTS
from vitau.measures.landmarks.refinement.refined import RefinedBackend
from vitau.measures.landmarks.training.movement import evaluate_movement, fit_log_odds, fit_side_weights


def test_the_fitted_weights_are_those_of_the_probability() -> None:
    rng = np.random.default_rng(0)
    ratios = rng.normal(0, 0.6, (6000, 3))
    weights = np.array([3.0, 1.0, 0.0])
    right = rng.random(6000) < 1 / (1 + np.exp(-ratios @ weights))
    assert np.allclose(fit_log_odds(ratios, np.where(right, 1, -1)), weights, atol=0.45), "a small penalty shrinks them"


def test_the_weights_of_the_side_are_those_that_the_command_fits() -> None:
    fitted = fit_side_weights(400, 101)
    assert fitted == pytest.approx(dict(SIDE_WEIGHTS), abs=0.051)


def test_drawn_people_are_judged_by_their_movement() -> None:
    result = evaluate_movement(RefinedBackend(), 4, 904)
    assert (result.num_people, result.seed) == (4, 904)
    assert result.side_right == 1.0
    assert result.auroc >= 0.75


def test_people_of_one_kind_cannot_be_judged() -> None:
    with pytest.raises(VitauError, match="draw more"):
        evaluate_movement(RefinedBackend(), 1, 906)
