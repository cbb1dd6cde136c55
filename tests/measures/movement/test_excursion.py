import numpy as np
import pytest

from vitau.measures.geometry import column_names
from vitau.measures.movement.excursion import Frames, excursion_of, movement_measures, rest_measures
from vitau.measures.movement.synkinesis import synkinesis_measures
from vitau.measures.movement.uncertainty import (
    excursion_error,
    frame_noise,
    median_error,
    pooled,
    repetition_error,
    smallest_detectable_change,
)
from vitau.measures.results import Task


def frames(num_rest=4, *, rate=10.0, mm=None, **moved):
    """Return frames that start at rest, with a level of 1 in every measure; ``moved`` are the movements after it."""
    length = num_rest + len(next(iter(moved.values())))
    columns = {name: np.ones(length) for name in column_names()}
    for name, values in moved.items():
        columns[name][num_rest:] += values
    return Frames(
        columns=columns,
        time_s=np.arange(length) / rate,
        levels=dict.fromkeys(columns, 1.0),
        is_rest=np.arange(length) < num_rest,
        eye_distance_mm=mm,
    )


def test_excursion_ratio_and_symmetry_index_are_those_computed_by_hand():
    moved = frames(mm=60.0, brow_height_right=[0.05, 0.1, 0.1], brow_height_left=[0.02, 0.025, 0.02])
    (brow,) = movement_measures(moved, Task.BROW_RAISE, [(4, 6)])
    assert (brow.right, brow.left) == pytest.approx((0.1, 0.02), abs=0.006)
    assert brow.ratio == pytest.approx(brow.left / brow.right)
    assert brow.symmetry_index == pytest.approx((brow.right - brow.left) / (brow.right + brow.left))
    assert brow.difference == pytest.approx(brow.right - brow.left)
    assert brow.right_mm == pytest.approx(60 * brow.right)


def test_a_fall_counts_for_an_exercise_that_asks_for_it():
    (lid,) = movement_measures(frames(lid_gap_right=[-0.1, -0.1], lid_gap_left=[0.03, 0.03]), Task.EYE_CLOSURE, [(4, 5)])
    assert (lid.right, lid.left) == pytest.approx((0.1, -0.03))
    assert (lid.ratio, lid.symmetry_index) == (0.0, 1.0)  # a lid that rises does not close


def test_the_ratio_of_two_tiny_movements_is_not_stated():
    (lid,) = movement_measures(frames(lid_gap_right=[-0.01, -0.01], lid_gap_left=[0.0, 0.0]), Task.EYE_CLOSURE, [(4, 5)])
    assert (lid.ratio, lid.symmetry_index) == (None, None)
    assert lid.right == pytest.approx(0.01)


def test_both_sides_are_read_at_the_same_time():
    moved = frames(brow_height_right=[0.1, 0.0, 0.0], brow_height_left=[0.0, 0.0, 0.04])
    assert excursion_of(moved, "brow_height", 1, 4, 6).sides == pytest.approx((0.1, 0.0))


def test_speed_includes_the_onset_and_correlation_follows_the_curves():
    moved = frames(rate=5.0, brow_height_right=[0.1, 0.12, 0.02, 0.0], brow_height_left=[0.05, 0.06, 0.01, 0.0])
    excursion = excursion_of(moved, "brow_height", 1, 4, 7)
    assert excursion.speeds == pytest.approx((0.5, 0.25))
    assert excursion.correlation == pytest.approx(1.0)
    against = frames(brow_height_right=[0.0, 0.1, 0.0, 0.1], brow_height_left=[0.1, 0.0, 0.1, 0.0])
    assert excursion_of(against, "brow_height", 1, 4, 7).correlation < 0


def test_a_region_that_is_not_asked_for_is_synkinesis_if_one_side_moves_alone():
    moved = frames(lip_corner_height_right=[0.1, 0.1], lip_corner_height_left=[0.1, 0.1], lid_gap_left=[-0.06, -0.06])
    by_name = {measure.measure: measure for measure in synkinesis_measures(moved, Task.SMILE, [(4, 5)])}
    assert set(by_name) == {"lid_gap", "brow_height"}
    assert (by_name["lid_gap"].right, by_name["lid_gap"].left) == pytest.approx((0.0, 0.06))
    assert by_name["lid_gap"].symmetry_index == -1.0
    assert by_name["brow_height"].symmetry_index is None


def test_repetitions_are_averaged_and_their_spread_is_the_error():
    moved = frames(brow_height_right=[0.1, 0.0, 0.14], brow_height_left=[0.1, 0.0, 0.1])
    (brow,) = movement_measures(moved, Task.BROW_RAISE, [(4, 4), (6, 6)])
    assert (brow.right, brow.left, brow.num_repetitions) == (pytest.approx(0.12), pytest.approx(0.1), 2)
    spread = np.std([0.1, 0.14], ddof=1)
    assert brow.standard_error == pytest.approx(np.sqrt((spread**2 + 0) / 2) / np.sqrt(2))
    assert brow.smallest_detectable_change == pytest.approx(1.96 * np.sqrt(2) * brow.standard_error)


def test_the_smallest_detectable_change_is_that_of_the_formula():
    assert smallest_detectable_change(0.01) == pytest.approx(0.0277186, abs=1e-7)


def test_noise_is_robust_and_needs_three_frames_at_rest():
    sample = np.random.default_rng(1).normal(0, 0.02, 2000)
    assert frame_noise(sample) == pytest.approx(0.02, rel=0.06)
    assert frame_noise(np.array([0.0, 0.01, -0.01, 9.0, 0.0])) < 0.02
    assert frame_noise(np.array([0.0, 0.1])) is None


def test_a_measure_at_its_limit_has_no_known_noise_and_so_no_detectable_change():
    assert frame_noise(np.array([0.0, 0.0, 0.0, 0.0, 0.02])) is None


def test_errors_agree_with_simulation():
    rng = np.random.default_rng(2)
    medians = np.median(rng.normal(0, 1, (20000, 40)), axis=1)
    assert median_error(1, 40) == pytest.approx(medians.std(), rel=0.03)
    differences = rng.normal(0, 1, (20000, 5)).mean(axis=1) - medians
    assert excursion_error(1, 5, 40) == pytest.approx(differences.std(), rel=0.03)


def test_one_repetition_has_no_spread_and_a_missing_side_no_pooled_error():
    assert repetition_error([0.1]) is None
    assert repetition_error([0.1, 0.2]) == pytest.approx(0.0707107, abs=1e-6)
    assert pooled([3.0, 4.0]) == pytest.approx(np.sqrt(12.5))
    assert pooled([3.0, None]) is None


def test_asymmetry_at_rest_is_the_difference_of_the_levels():
    moved = frames(brow_height_right=[0.0])
    moved.levels["brow_height_left"] = 0.9
    brow = next(measure for measure in rest_measures(moved) if measure.measure == "brow_height")
    assert (brow.kind, brow.difference) == ("rest", pytest.approx(0.1))
