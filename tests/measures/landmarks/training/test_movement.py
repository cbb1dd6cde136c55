import pytest

from vitau.errors import VitauError
from vitau.measures.landmarks.refinement.refined import RefinedBackend
from vitau.measures.landmarks.training.movement import evaluate_movement


def test_drawn_people_are_judged_by_their_movement() -> None:
    result = evaluate_movement(RefinedBackend(), 4, 904)
    assert (result.num_people, result.seed) == (4, 904)
    assert result.side_right == 1.0
    assert result.auroc >= 0.75


def test_people_of_one_kind_cannot_be_judged() -> None:
    with pytest.raises(VitauError, match="draw more"):
        evaluate_movement(RefinedBackend(), 1, 906)
