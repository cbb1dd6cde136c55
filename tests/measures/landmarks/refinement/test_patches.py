import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vitau.measures.landmarks.refinement.patches import LOWER, PATCH_PX, UPPER, Region, cut_patches, to_frame
from vitau.media.synthetic.drawing import draw_frame
from vitau.media.synthetic.people import draw_person

DRAWING = draw_frame(draw_person(902, 0), "rest", 0.0)


def in_patch(patch_to_frame: np.ndarray, point: np.ndarray) -> np.ndarray:
    return cv2.invertAffineTransform(patch_to_frame) @ np.append(point, 1.0)


@pytest.mark.parametrize("region", [UPPER, LOWER])
def test_a_patch_contains_the_points_that_are_localized_in_it(region: Region) -> None:
    for patch in cut_patches(DRAWING.image, DRAWING.landmarks, region):
        places = np.array([in_patch(patch.to_frame, DRAWING.landmarks[point]) for point in patch.points])
        assert places.min() > 0
        assert places.max() < PATCH_PX - 1


@pytest.mark.parametrize("region", [UPPER, LOWER])
def test_the_patch_of_the_left_half_is_that_of_the_mirrored_face(region: Region) -> None:
    """The left half of a picture and the right half of its mirror image are the same pixels, and the same points."""
    width = DRAWING.image.shape[1]
    order = [*range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1), 45, 44, 43, 42, 47, 46, 39, 38, 37, 36]
    order += [41, 40, *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), 67, 66, 65]
    swapped = DRAWING.landmarks[order] * (-1, 1) + (width - 1, 0)
    _, left = cut_patches(DRAWING.image, DRAWING.landmarks, region)
    right, _ = cut_patches(np.ascontiguousarray(DRAWING.image[:, ::-1]), swapped, region)
    assert np.abs(left.pixels.astype(int) - right.pixels).max() <= 2
    found = np.random.default_rng(0).uniform(0, PATCH_PX, (5, 2))
    assert np.allclose(to_frame(left, found), to_frame(right, found) * (-1, 1) + (width - 1, 0))
    assert [order[point] for point in right.points] == list(left.points)


@given(angle=st.floats(-40, 40), scale=st.floats(0.4, 3), zoom=st.floats(0.8, 1.3))
def test_a_patch_turns_and_grows_with_the_face(angle: float, scale: float, zoom: float) -> None:
    turn = cv2.getRotationMatrix2D((320, 240), angle, scale)
    moved = DRAWING.landmarks @ turn[:, :2].T + turn[:, 2]
    plain, turned = (cut_patches(DRAWING.image, points, UPPER, zoom)[1].to_frame for points in (DRAWING.landmarks, moved))
    assert np.allclose(turned, turn[:, :2] @ plain + np.column_stack([np.zeros((2, 2)), turn[:, 2]]), atol=1e-6)


def test_coinciding_eyes_are_refused() -> None:
    with pytest.raises(ValueError, match="leave this frame out"):
        cut_patches(DRAWING.image, np.zeros((68, 2)), UPPER)
