import numpy as np

from vitau.asymmetry.patches import PATCHES, texture_ratios
from vitau.data.dataset import Crops
from vitau.schema import MIRROR


def still(crops: Crops, num_frames: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return the first frame several times, with the left half a mirror image of the right one."""
    pixels, points = crops.pixels(slice(0, 1))[0], crops.landmarks_NL2[0].astype(np.float64)
    pixels = np.concatenate([pixels[:, :128], pixels[:, 127::-1]], axis=1)
    points = (points + (255, 0) + points[list(MIRROR)] * (-1, 1)) / 2
    return np.repeat(pixels[None], num_frames, axis=0), np.repeat(points[None], num_frames, axis=0)


def test_a_still_symmetric_face_changes_equally_on_both_sides(palsied_crops: Crops) -> None:
    ratios = texture_ratios(*still(palsied_crops))
    assert set(ratios) == set(PATCHES)
    assert np.allclose(list(ratios.values()), 0, atol=1e-6)


def test_a_fold_that_comes_and_goes_on_the_right_makes_the_left_the_side_that_changes_less(palsied_crops: Crops) -> None:
    pixels, points = still(palsied_crops)
    x, y = points[0, [31, 48]].mean(axis=0).round().astype(int)
    pixels[::2, y - 3 : y + 3, x - 12 : x + 6] = 0
    ratios = texture_ratios(pixels, points)
    gray, gradient = ratios["nasolabial_fold"]
    assert gray < -0.5
    assert gradient < -0.5
    assert np.allclose(ratios["forehead"], 0, atol=1e-6)


def test_brightness_and_contrast_of_frames_are_no_change(palsied_crops: Crops) -> None:
    pixels, points = still(palsied_crops)
    darker = pixels.copy()
    darker[::2] = (darker[::2] * 0.8).astype(np.uint8)
    gray, _ = texture_ratios(darker, points)["eye"]
    assert abs(gray) < 0.02
