import cv2
import numpy as np
import pytest

from vitau.measures.pixels import find_iris, measure_pixels, read_pixels, scale_of
from vitau.media.synthetic.drawing import draw_frame
from vitau.media.synthetic.people import draw_person
from vitau.schema import MIRROR

DRAWN_IRIS = 0.21
"""Diameter of the iris of a drawn person, in face units; the centers of the eyes are about 1 apart."""


def eye(radius, x=48, y=47, size=96):
    """Return the gray patch of an eye with an iris between two lids."""
    patch = np.full((size, size), 225, np.uint8)
    cv2.circle(patch, (x, y), radius, 70, -1, cv2.LINE_AA)
    cv2.circle(patch, (x, y), radius // 3, 15, -1, cv2.LINE_AA)
    patch[: size // 2 - 10], patch[size // 2 + 10 :] = 150, 150
    return cv2.GaussianBlur(patch, (0, 0), 1)


@pytest.mark.parametrize("radius", [12, 14, 16, 18])
def test_an_iris_is_found_with_its_radius_and_center(radius):
    iris = find_iris(eye(radius, x=43, y=49), 0.12)
    assert iris.radius == pytest.approx(radius, abs=1)
    assert (iris.x, iris.y) == (pytest.approx(43, abs=2), pytest.approx(49, abs=4))


def test_a_closed_eye_and_plain_skin_show_no_iris():
    assert find_iris(eye(14), 0.03) is None
    assert find_iris(np.full((96, 96), 150, np.uint8), 0.12) is None


def test_the_iris_of_drawn_people_has_its_diameter():
    found = []
    for index in range(6):
        drawing = draw_frame(draw_person(61, index), "rest", 1.0)
        measured = measure_pixels(read_pixels(drawing.image, drawing.landmarks))
        found += [measured["iris_diameter_right"], measured["iris_diameter_left"]]
    known = np.array(found)[np.isfinite(found)]
    assert len(known) >= 7
    assert np.median(known) == pytest.approx(DRAWN_IRIS, rel=0.1)


def test_teeth_are_seen_in_a_smile_and_not_at_rest():
    person = draw_person(61, 2, palsied=False)
    at_rest, smile = (draw_frame(person, task, 1.0) for task in ("rest", "smile"))
    both = ("dental_show_right", "dental_show_left")
    calm, shown = (measure_pixels(read_pixels(drawing.image, drawing.landmarks)) for drawing in (at_rest, smile))
    assert all(shown[name] > calm[name] + 0.002 for name in both)


def test_the_mirror_image_exchanges_the_sides():
    drawing = draw_frame(draw_person(61, 1, palsied=True), "smile", 1.0)
    width = drawing.image.shape[1]
    mirrored_points = (drawing.landmarks * (-1, 1) + (width - 1, 0))[list(MIRROR)]
    plain = measure_pixels(read_pixels(drawing.image, drawing.landmarks))
    other = measure_pixels(read_pixels(np.ascontiguousarray(drawing.image[:, ::-1]), mirrored_points))
    assert plain["dental_show_right"] == pytest.approx(other["dental_show_left"], abs=0.002)
    assert plain["dental_show_left"] == pytest.approx(other["dental_show_right"], abs=0.002)


def test_a_small_face_has_no_values_from_pixels():
    drawing = draw_frame(draw_person(61, 0), "rest", 1.0, size=(320, 240))
    assert all(np.isnan(value) for value in measure_pixels(read_pixels(drawing.image, drawing.landmarks)).values())


def test_a_scale_needs_irises_that_agree():
    assert scale_of(np.array([0.18, np.nan, 0.18, 0.18])) == pytest.approx(65.0)
    assert scale_of(np.array([0.18, np.nan])) is None
    assert scale_of(np.array([0.14, 0.18, 0.24, 0.16, 0.22])) is None
