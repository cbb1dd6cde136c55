import numpy as np
import pytest

from vitau.errors import VitauError
from vitau.measures.landmarks.refinement.refined import RefinedBackend
from vitau.measures.landmarks.training.movement import evaluate_movement, fit_side_slope


@pytest.mark.parametrize("slope", [2.0, 10.0])
def test_the_fitted_slope_is_that_of_the_probability(slope: float) -> None:
    rng = np.random.default_rng(0)
    size = np.abs(rng.normal(0, 0.4, 4000))
    right = rng.random(4000) < 1 / (1 + np.exp(-slope * size))
    assert np.isclose(fit_side_slope(np.where(right, size, -size)), slope, rtol=0.15)


def test_drawn_people_are_judged_by_their_movement() -> None:
    result = evaluate_movement(RefinedBackend(), 2, 906)
    assert (result.num_people, result.seed) == (2, 906)
    assert result.auroc == result.side_right == 1.0


def test_people_of_one_kind_cannot_be_judged() -> None:
    with pytest.raises(VitauError, match="draw more"):
        evaluate_movement(RefinedBackend(), 1, 906)
