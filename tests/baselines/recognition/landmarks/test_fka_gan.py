import numpy as np
import pytest

from vitau.baselines.recognition.landmarks.fka_gan import NUM_MEASURES, asymmetry_measures, fka_gan, ratio
from vitau.schema import MIRROR


@pytest.fixture
def symmetric(eight_people):
    """A face that is its own mirror image about x = 128."""
    points = eight_people.landmarks_NL2[:1].astype(float)
    return (points + (256, 0) + points[:, list(MIRROR)] * (-1, 1)) / 2


def test_a_symmetric_face_has_angles_0_and_ratios_1(symmetric):
    expected = np.concatenate([np.zeros(10), np.ones(18), np.zeros(1)])
    assert asymmetry_measures(symmetric).shape == (1, NUM_MEASURES)
    assert np.allclose(asymmetry_measures(symmetric)[0], expected, atol=1e-6)


def test_the_measures_of_a_face_and_its_mirror_image_are_equal(eight_people):
    points = eight_people.landmarks_NL2[:20].astype(float)
    mirrored = points[:, list(MIRROR)] * (-1, 1) + (256, 0)
    assert np.allclose(asymmetry_measures(mirrored), asymmetry_measures(points))


def test_a_lowered_lip_corner_gives_its_angle_and_ratios(symmetric):
    eyes = symmetric[0, 42:48].mean(0)[0] - symmetric[0, 36:42].mean(0)[0]
    moved = symmetric.copy()
    moved[0, 54, 1] += 12
    width = moved[0, 54, 0] - moved[0, 48, 0]
    before, after = asymmetry_measures(symmetric)[0], asymmetry_measures(moved)[0]
    changed = np.flatnonzero(~np.isclose(before, after, atol=1e-9))
    assert after[6] == pytest.approx(np.degrees(np.arctan2(12, width)))
    right, left = (np.linalg.norm(moved[0, corner] - moved[0, eye]) for corner, eye in ((48, 36), (54, 45)))
    assert after[20] == pytest.approx(left / right)
    # its angle; its distances from both lips and from the eye; area and perimeter of its half of the mouth
    assert changed.tolist() == [6, 18, 19, 20, 26, 27]
    assert eyes > 0


def test_a_ratio_is_of_the_larger_to_the_smaller_and_at_most_10():
    values = ratio(np.array([1.0, 4.0, 0.0, 5.0]), np.array([2.0, 1.0, 0.0, -1.0]))
    assert values.tolist() == [2, 4, 1, 10]


def test_it_learns_eight_people(check_learning):
    fitted = check_learning(fka_gan(), epochs=15)
    assert fitted.num_parameters == 2 * 29 + 29 * 64 + 64 + 64 * 32 + 32 + 32 * 2 + 2
