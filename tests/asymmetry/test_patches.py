import numpy as np

from vitau.asymmetry.patches import PATCHES, texture_ratios
from vitau.data.dataset import Crops
from vitau.schema import MIRROR


def still(crops: Crops, num_frames: int = 6) -> tuple[np.ndarray, np.ndarray]:
    """Return the first frame several times, with the left half a mirror image of the right one."""
    pixels, points = symmetric(crops.where(np.arange(len(crops)) == 0))
    return np.repeat(pixels, num_frames, axis=0), np.repeat(points, num_frames, axis=0)


def symmetric(crops: Crops) -> tuple[np.ndarray, np.ndarray]:
    """Return frames in which the left half is a mirror image of the right one."""
    pixels, points = crops.pixels(slice(None)), crops.landmarks_NL2.astype(np.float64)
    pixels = np.concatenate([pixels[:, :, :128], pixels[:, :, 127::-1]], axis=2)
    return pixels, (points + (255, 0) + points[:, list(MIRROR)] * (-1, 1)) / 2


def test_a_face_that_moves_symmetrically_changes_equally_on_both_sides(palsied_crops: Crops) -> None:
    ratios = texture_ratios(*symmetric(palsied_crops))
    assert set(ratios) == set(PATCHES)
    assert np.allclose(list(ratios.values()), 0, atol=0.02)


def test_a_fold_that_comes_and_goes_on_the_right_makes_the_left_the_side_that_changes_less(palsied_crops: Crops) -> None:
    pixels, points = still(palsied_crops)
    x, y = points[0, [31, 48]].mean(axis=0).round().astype(int)
    pixels[::2, y - 3 : y + 3, x - 12 : x + 6] = 0
    ratios = texture_ratios(pixels, points)
    gray, gradient = ratios["nasolabial_fold"]
    assert gray < -0.5
    assert gradient < -0.5
    assert np.allclose(ratios["forehead"], 0, atol=1e-6)


def test_a_shadow_that_comes_and_goes_on_one_side_is_no_change(palsied_crops: Crops) -> None:
    pixels, points = still(palsied_crops)
    shadowed = pixels.copy()
    shadowed[::2, :, :128] = (shadowed[::2, :, :128] * 0.8 + 25).astype(np.uint8)
    gray, _ = texture_ratios(shadowed, points)["eye"]
    assert abs(gray) < 0.1
