import pytest

from vitau.measures.movement.pattern import forehead_pattern
from vitau.measures.results import Measure, Task
from vitau.schema import Side


def excursion(task, measure, right, left):
    ratio = min(right, left) / max(right, left)
    return Measure(task=task, measure=measure, kind="excursion", unit="eye distance", right=right, left=left, ratio=ratio)


def brow(right, left):
    return excursion(Task.BROW_RAISE, "brow_height", right, left)


def at_rest(right, left):
    return Measure(task=Task.REST, measure="brow_height", kind="rest", unit="", right=right, left=left, difference=right - left)


def smile(right, left):
    return excursion(Task.SMILE, "lip_corner_height", right, left)


@pytest.mark.parametrize(
    ("measures", "side", "name", "spared"),
    [
        ([brow(0.1, 0.09), smile(0.12, 0.03)], Side.LEFT, "central", True),
        ([brow(0.1, 0.02), smile(0.12, 0.03)], Side.LEFT, "peripheral", False),
        ([brow(0.02, 0.1), smile(0.03, 0.12)], Side.RIGHT, "peripheral", False),
        ([brow(0.1, 0.1), smile(0.03, 0.12), at_rest(0.30, 0.34)], Side.RIGHT, "peripheral", False),
        ([brow(0.1, 0.1), smile(0.03, 0.12), at_rest(0.34, 0.30)], Side.RIGHT, "central", True),
        ([brow(0.1, 0.09), smile(0.12, 0.115)], Side.LEFT, "even", None),
        ([smile(0.12, 0.03)], Side.LEFT, "unknown", None),
        ([brow(0.1, 0.09), smile(0.12, 0.03)], None, "unknown", None),
    ],
)
def test_the_pattern_compares_the_forehead_with_the_lower_face(measures, side, name, spared):
    pattern = forehead_pattern(measures, side, 0.3)
    assert (pattern.name, pattern.forehead_spared) == (name, spared)


def test_two_sides_that_move_evenly_have_no_pattern():
    measures = [brow(0.1, 0.02), smile(0.12, 0.08)]
    assert forehead_pattern(measures, Side.LEFT, 0.2).name == "peripheral"
    assert forehead_pattern(measures, Side.LEFT, 0.1).name == "even"
    assert forehead_pattern(measures, Side.LEFT, None).name == "unknown"
