import numpy as np
import pytest

from vitau.measures.geometry import measure_points, upright
from vitau.measures.reporting.curves import elapsed, nice_ticks, polylines
from vitau.measures.reporting.pictures import EYE_DISTANCE, measured_lines, mirrored_halves, upright_face
from vitau.media.crops import from_jpeg
from vitau.schema import Side


def test_the_drawn_lines_are_as_long_as_the_measures(recording):
    _, points = upright_face(recording.key_frames[1])
    columns = measure_points(recording.key_frames[1].points[None])
    for line in measured_lines(points):
        (x1, y1), (x2, y2) = line.ends
        length = np.hypot(x2 - x1, y2 - y1) / EYE_DISTANCE
        assert length == pytest.approx(abs(columns[f"{line.measure}_{line.side}"][0]), abs=1e-3), line


def test_the_lines_of_the_right_side_are_on_the_left_of_the_picture(recording):
    _, points = upright_face(recording.key_frames[0])
    for line in measured_lines(points):
        centre = np.mean([end[0] for end in line.ends])
        assert (centre < points[33][0]) == (line.side is Side.RIGHT)


def test_each_mirrored_half_is_symmetric_and_shows_its_own_side(recording):
    image, _ = upright_face(recording.key_frames[1])
    halves = [from_jpeg(half).astype(float) for half in mirrored_halves(recording.key_frames[1])]
    for half in halves:
        assert np.abs(half - half[:, ::-1]).mean() < 2
    middle, step = image.shape[1] // 2, np.s_[::2]
    for half, own, outwards in zip(
        halves, (image[:, :middle], image[:, middle:]), (np.s_[:, :105], np.s_[:, 105:]), strict=True
    ):
        expected = np.asarray(own[step, step], dtype=float)
        difference, inside_out = (np.abs(part - expected).mean() for part in (half[outwards], half[outwards][:, ::-1]))
        assert difference < 0.6 * inside_out, "the nose is in the middle"
    assert np.abs(halves[0] - halves[1]).mean() > 8, "the two sides of this face differ"


def test_upright_points_agree_with_the_geometry(recording):
    _, points = upright_face(recording.key_frames[0])
    expected = upright(recording.key_frames[0].points[None])[0]
    found = (points - (points[36:42].mean(axis=0) + points[42:48].mean(axis=0)) / 2) / EYE_DISTANCE
    assert np.abs(found - expected).max() < 1e-3


def test_a_curve_is_interrupted_where_a_value_or_a_frame_is_missing():
    x = np.arange(6.0)
    y = np.array([0.0, 1.0, np.nan, 3.0, 4.0, 5.0])
    breaks = np.array([True, False, False, False, True, False])
    assert polylines(x, y, breaks) == ("0.0,0.0 1.0,1.0", "3.0,3.0 3.0,3.0", "4.0,4.0 5.0,5.0")


def test_a_long_curve_keeps_its_extremes():
    y = np.zeros(100_000)
    y[70_001], y[30_003] = 9.0, -9.0
    breaks = np.arange(len(y)) == 0
    (points,) = polylines(np.arange(len(y), dtype=float), y, breaks)
    heights = [float(point.split(",")[1]) for point in points.split()]
    assert len(heights) <= 402
    assert (min(heights), max(heights)) == (-9.0, 9.0)


def test_the_times_of_several_parts_follow_one_another():
    assert elapsed(np.array([0.0, 0.1, 0.2, 0.0, 0.1])).tolist() == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    assert elapsed(np.array([0.0, 0.0])).tolist() == [0.0, 1.0]


def test_ticks_are_round_and_inside():
    assert nice_ticks(-0.83, -0.71, 3) == [-0.8, -0.75]
    assert nice_ticks(0, 20, 5) == [0, 5, 10, 15, 20]
