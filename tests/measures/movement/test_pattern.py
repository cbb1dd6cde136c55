import pytest

from vitau.measures.movement.pattern import forehead_pattern
from vitau.measures.weakness.model import Weakness
from vitau.schema import Side


def weak(forehead: float, lower_face: float, side_probability: float = 0.99) -> Weakness:
    return Weakness(side=Side.LEFT, side_probability=side_probability, forehead=forehead, lower_face=lower_face)


@pytest.mark.parametrize(
    ("weakness", "name", "spared"),
    [
        (weak(0.1, 0.9), "central", True),
        (weak(0.9, 0.9), "peripheral", False),
        (weak(0.9, 0.1), "peripheral", False),
        (weak(0.1, 0.1), "even", None),
        (weak(0.1, 0.9, side_probability=0.6), "even", None),
        (weak(0.9, 0.9, side_probability=0.6), "even", None),
    ],
)
def test_the_pattern_compares_the_forehead_with_the_lower_face(weakness: Weakness, name: str, spared: bool | None) -> None:
    pattern = forehead_pattern(weakness, 0.3, brows_raised=True)
    assert (pattern.name, pattern.forehead_spared) == (name, spared)


def test_a_weak_forehead_is_not_stated_for_two_sides_that_move_evenly() -> None:
    assert forehead_pattern(weak(0.9, 0.9), 0.2, brows_raised=True).name == "peripheral"
    assert forehead_pattern(weak(0.9, 0.9), 0.1, brows_raised=True).name == "even"


def test_nothing_is_known_of_a_forehead_that_was_not_asked_to_move() -> None:
    pattern = forehead_pattern(weak(0.1, 0.9), 0.3, brows_raised=False)
    assert (pattern.name, pattern.forehead_spared) == ("unknown", None)
