import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitau.measures.geometry import (
    CENTRAL_MEASURES,
    SIDED_MEASURES,
    column_names,
    measure_points,
    own_points,
    with_pupils,
    working_names,
)
from vitau.schema import MIRROR, Side


def face():
    """Return a symmetric face (1, 68, 2) with eye centers at (60, 100) and (100, 100): an eye distance of 40 px."""
    points = np.full((68, 2), 80.0)
    right = {
        **{number: (50 + 5 * (number - 17), 80) for number in range(17, 22)},
        36: (52, 100),
        37: (57, 97),
        38: (63, 97),
        39: (68, 100),
        40: (63, 103),
        41: (57, 103),
        31: (74, 128),
        48: (66, 150),
        50: (76, 144),
        58: (76, 160),
    }
    for number, (x, y) in right.items():
        points[number], points[MIRROR[number]] = (x, y), (160 - x, y)
    points[27], points[33], points[51], points[8] = (80, 100), (80, 132), (80, 142), (80, 190)
    points[62], points[66] = (80, 148), (80, 156)
    return points[None]


EXPECTED = {
    "brow_height": 20 / 40,
    "lid_gap": 6 / 40,
    "lip_corner_height": -18 / 40,
    "lip_corner_lateral": 14 / 40,
    "upper_margin_reflex": 3 / 40,
    "lower_margin_reflex": 3 / 40,
    "nasal_wing_height": -28 / 40,
    "upper_lip_height": -12 / 40,
    "lower_lip_height": -28 / 40,
    "philtrum_deviation": 0.0,
    "mouth_opening": 8 / 40,
    "chin_height": -58 / 40,
}


def test_measures_of_a_face_are_those_computed_by_hand():
    measured = measure_points(face())
    assert set(EXPECTED) == {*SIDED_MEASURES, *CENTRAL_MEASURES}
    assert tuple(measured) == (*column_names(), *working_names())
    for name, expected in EXPECTED.items():
        for column in [name] if name in CENTRAL_MEASURES else [f"{name}_right", f"{name}_left"]:
            assert measured[column][0] == pytest.approx(expected), column


@pytest.mark.parametrize(
    ("numbers", "step", "column", "change"),
    [
        (range(17, 22), (0, -4), "brow_height_right", 0.1),
        (range(22, 27), (0, -4), "brow_height_left", 0.1),
        ([54], (0, -4), "lip_corner_height_left", 0.1),
        ([54], (4, 0), "lip_corner_lateral_left", 0.1),
        ([48], (-4, 0), "lip_corner_lateral_right", 0.1),
        ([31], (0, -4), "nasal_wing_height_right", 0.1),
        ([50], (0, -4), "upper_lip_height_right", 0.1),
        ([56], (0, 4), "lower_lip_height_left", -0.1),
        ([51], (4, 0), "philtrum_deviation", 0.1),
    ],
)
def test_a_moved_landmark_changes_the_measure_of_its_side_alone(numbers, step, column, change):
    moved = face()
    moved[0, list(numbers)] += step
    before, after = measure_points(face()), measure_points(moved)
    names = column_names()
    differences = {name: after[name][0] - before[name][0] for name in names if abs(after[name][0] - before[name][0]) > 1e-9}
    assert differences == {column: pytest.approx(change)}


@pytest.mark.parametrize(
    ("numbers", "column"),
    [
        ([21], "inner_brow_height_right"),
        ([22], "inner_brow_height_left"),
        ([18], "brow_bend_right"),
        ([25], "brow_bend_left"),
        ([48], "lip_corner_under_eye_right"),
        ([54], "lip_corner_under_eye_left"),
        ([50], "upper_lip_under_eye_right"),
        ([56], "lower_lip_under_eye_left"),
        ([61], "lips_apart_right"),
        ([63], "lips_apart_left"),
    ],
)
def test_a_moved_landmark_changes_the_working_measure_of_its_side_alone(numbers, column):
    moved = face()
    moved[0, numbers] += (0, -4)
    before, after = measure_points(face()), measure_points(moved)
    differences = {name: after[name][0] - before[name][0] for name in working_names() if after[name][0] != before[name][0]}
    assert differences == {column: pytest.approx(0.1)}


@given(
    angle=st.floats(-1.2, 1.2), scale=st.floats(0.2, 9), x=st.floats(-500, 500), y=st.floats(-500, 500), seed=st.integers(0, 99)
)
def test_roll_size_and_position_do_not_change_a_measure(angle, scale, x, y, seed):
    points = face() + np.random.default_rng(seed).normal(0, 2, (68, 2))
    turn = scale * np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    before, after = measure_points(points), measure_points(points @ turn + (x, y))
    for name in before:
        assert after[name] == pytest.approx(before[name], abs=1e-9), name


def test_a_mirrored_picture_gives_the_measures_of_the_original():
    points = face() + np.random.default_rng(1).normal(0, 3, (68, 2))
    width = 640
    picture = (points * (-1, 1) + (width - 1, 0))[:, list(MIRROR)]  # as dlib numbers the points of the mirror image
    before, after = measure_points(points), measure_points(own_points(picture, mirrored=True))
    assert measure_points(picture)["brow_height_right"] == pytest.approx(before["brow_height_left"])
    for name in before:
        assert after[name] == pytest.approx(before[name]), name


def test_the_pupil_moves_the_start_of_the_margin_reflex_distances():
    moved = with_pupils(measure_points(face()), {Side.LEFT: 0.02})
    assert moved["upper_margin_reflex_left"][0] == pytest.approx(3 / 40 - 0.02)
    assert moved["lower_margin_reflex_left"][0] == pytest.approx(3 / 40 + 0.02)
    assert moved["upper_margin_reflex_right"][0] == pytest.approx(3 / 40)


def test_points_without_a_face_are_refused():
    with pytest.raises(ValueError, match=r"landmarks have the shape \(1, 67, 2\); give \(N, 68, 2\)"):
        measure_points(face()[:, :67])
    with pytest.raises(ValueError, match="the eyes of these landmarks coincide; leave this frame out"):
        measure_points(np.zeros((1, 68, 2)))
