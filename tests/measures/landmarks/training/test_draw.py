import numpy as np
import pytest

from vitau.measures.landmarks.refinement.patches import LOWER, PATCH_PX, UPPER, Region
from vitau.measures.landmarks.training.draw import draw_patches


@pytest.mark.parametrize(("name", "region"), [("upper", UPPER), ("lower", LOWER)])
def test_a_patch_depends_on_its_seed_and_number_only(name: str, region: Region) -> None:
    few, more, other = draw_patches(name, 3, 7), draw_patches(name, 6, 7), draw_patches(name, 3, 8)
    assert few.patches.shape == (3, PATCH_PX, PATCH_PX, 3)
    assert few.points.shape == (3, len(region.points), 2)
    assert np.array_equal(few.patches, more.patches[:3])
    assert np.array_equal(few.points, more.points[:3])
    assert not np.array_equal(few.patches, other.patches)
    assert len(np.unique(more.points[:, 0], axis=0)) == 6


def test_the_points_of_the_upper_region_are_in_order_on_every_patch() -> None:
    points = draw_patches("upper", 40, 9).points
    brow, lids = points[:, :5], points[:, 5:]
    assert (np.diff(brow[..., 0], axis=1) > 0).all(), "the brow runs from the temple to the nose"
    assert (lids[:, 0, 0] < lids[:, 3, 0]).all(), "the outer corner of the eye is at the temple"
    gap = lids[:, [5, 4], 1].mean(axis=1) - lids[:, [1, 2], 1].mean(axis=1)
    assert (gap > -2).all()
    assert gap.max() > 3 * np.median(gap) or gap.std() > 3, "open and closed eyes are drawn"
    assert (brow[..., 1].mean(axis=1) < lids[..., 1].mean(axis=1)).all()


def test_the_corner_of_the_lips_is_outwards_of_the_other_points_of_the_lips() -> None:
    points = draw_patches("lower", 40, 9).points
    corner, lips = points[:, LOWER.points.index(48), 0], points[:, 4:, 0]
    assert (corner[:, None] < lips + 1).all()


def test_a_region_that_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match="give 1 or more of upper, lower"):
        draw_patches("middle", 3, 7)
    with pytest.raises(ValueError, match="0 patches"):
        draw_patches("upper", 0, 7)
