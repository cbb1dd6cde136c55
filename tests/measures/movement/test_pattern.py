import numpy as np
import pytest

from vitau.measures.geometry import SIDES
from vitau.measures.movement.pattern import Brows, compare_brows, forehead_pattern
from vitau.schema import Side

WEAK_MOUTH = {"lip_corner_height": 0.5, "upper_lip_height": 0.3}
"""The left side moves more: the right one is weak."""


def brows(*losses, droop=0.0):
    return Brows(losses=losses, droop=droop)


@pytest.mark.parametrize(
    ("found", "ratios", "side", "name", "spared"),
    [
        (brows(0.1, 0.1), WEAK_MOUTH, Side.RIGHT, "central", True),
        (brows(0.7, 0.0), WEAK_MOUTH, Side.RIGHT, "peripheral", False),
        (brows(0.0, 0.7), WEAK_MOUTH, Side.RIGHT, "peripheral", False),
        (brows(0.0, 0.0, droop=0.07), WEAK_MOUTH, Side.RIGHT, "peripheral", False),
        (brows(0.35, 0.0, droop=0.04), WEAK_MOUTH, Side.RIGHT, "peripheral", False),
        (brows(0.35, 0.0, droop=-0.04), WEAK_MOUTH, Side.RIGHT, "central", True),
        (brows(-0.7, -0.7, droop=-0.07), WEAK_MOUTH, Side.RIGHT, "central", True),
        (brows(-0.1, 0.0), {"lip_corner_height": -0.8}, Side.LEFT, "central", True),
        (brows(-0.7, -0.1), {"lip_corner_height": -0.8}, Side.LEFT, "peripheral", False),
        (brows(0.1, 0.0), {"lip_corner_height": 0.3, "upper_lip_height": -0.8}, Side.RIGHT, "even", None),
        (None, WEAK_MOUTH, Side.RIGHT, "unknown", None),
        (brows(0.1, 0.1), WEAK_MOUTH, None, "unknown", None),
    ],
)
def test_the_pattern_compares_the_forehead_with_the_lower_face(found, ratios, side, name, spared):
    pattern = forehead_pattern(found, ratios, side, 0.3)
    assert (pattern.name, pattern.forehead_spared) == (name, spared)


def test_a_weak_forehead_is_not_stated_for_two_sides_that_move_evenly():
    assert forehead_pattern(brows(0.8, 0.0), {}, Side.RIGHT, 0.2).name == "peripheral"
    assert forehead_pattern(brows(0.8, 0.0), {}, Side.RIGHT, 0.1).name == "even"
    assert forehead_pattern(brows(0.8, 0.0), {}, Side.RIGHT, None).name == "unknown"


def raising(**moved):
    """Return columns and levels of brows that rise from 0.3 by these distances per frame; by default evenly by 0.1 and 0.2."""
    columns, levels = {}, {}
    for part in ("inner", "outer"):
        for side in SIDES:
            name = f"{part}_brow_height_{side}"
            columns[name] = 0.3 + np.array(moved.get(f"{part}_{side}", [0.0, 0.1, 0.2, 0.0]))
            levels[name] = 0.3
    return columns, levels


def test_a_brow_that_rises_half_as_much_has_lost_the_log_of_two_nearly():
    found = compare_brows(*raising(outer_right=[0.0, 0.05, 0.1, 0.0]), [(1, 2)])
    assert found is not None
    assert found.losses[0] == pytest.approx(0.0)
    assert 0.45 < found.losses[1] < np.log(2), "a little less: noise is added to both sides"


def test_a_point_that_is_misplaced_in_one_frame_makes_no_palsy():
    steady = [0.0, 0.2, 0.2, 0.2, 0.2]
    missed = [0.0, 0.2, 0.2, 0.2, 0.0]
    columns, levels = raising(
        inner_right=steady, inner_left=[0.0, 0.2, 0.2, 0.2, 0.25], outer_right=missed, outer_left=[0.0, 0.2, 0.2, 0.2, 0.4]
    )
    found = compare_brows(columns, levels, [(1, 4)])
    assert found is not None
    assert found.losses[1] < 0.6 < np.log(0.43 / 0.03)


def test_the_droop_is_the_distance_of_the_right_brow_under_the_left_one():
    columns, levels = raising()
    levels |= {"inner_brow_height_right": 0.26, "outer_brow_height_right": 0.24}
    found = compare_brows(columns, levels, [(1, 2)])
    assert found is not None
    assert found.droop == pytest.approx(0.05)
    assert compare_brows(columns, levels, []) is None


def test_repetitions_are_averaged():
    columns, levels = raising(inner_right=[0.0, 0.17, 0.0, 0.07])
    twice = compare_brows(columns, levels, [(1, 1), (3, 3)])
    alone = [compare_brows(columns, levels, [run]) for run in ((1, 1), (3, 3))]
    assert twice is not None
    assert twice.losses[0] == pytest.approx(np.mean([found.losses[0] for found in alone if found]))
