"""A changed image keeps its landmarks on the same pixels."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from vitau.models.heatmaps import flip_landmarks
from vitau.training.augment import Changes, augment, draw_changes
from vitau.training.config import Augmentation

STILL = Augmentation(flip=False, rotate_deg=0, scale=0, shift=0, gain=0, bias=0, tint=0, noise=0)


def _changes(batch: int, size: int, config: Augmentation) -> Changes:
    return draw_changes(batch, size, config, torch.Generator().manual_seed(1))


def _spots(point_B2: Tensor, size: int = 64) -> Tensor:
    """Black images with a white blob at a point of the 256 crop."""
    grid = (torch.arange(size) + 0.5) * 256 / size - 0.5
    x_BW, y_BH = ((grid - point_B2[:, None, axis]) / 10 for axis in (0, 1))
    blob_BHW = torch.exp(-(y_BH[:, :, None] ** 2) / 2 - x_BW[:, None, :] ** 2 / 2)
    return (2 * blob_BHW - 1)[:, None].expand(-1, 3, -1, -1)


def _centre(crop_BCHW: Tensor) -> Tensor:
    weight_BHW = (crop_BCHW[:, 0] + 1).clamp(min=0)
    grid = (torch.arange(crop_BCHW.shape[-1]) + 0.5) * 256 / crop_BCHW.shape[-1] - 0.5
    total_B = weight_BHW.sum((1, 2))
    return torch.stack([(weight_BHW * grid).sum((1, 2)) / total_B, (weight_BHW * grid[:, None]).sum((1, 2)) / total_B], 1)


@pytest.mark.parametrize(
    "config",
    [
        replace(STILL, flip=True),
        replace(STILL, rotate_deg=20),
        replace(STILL, scale=0.2),
        replace(STILL, shift=0.1),
        replace(STILL, flip=True, rotate_deg=20, scale=0.2, shift=0.1),
    ],
)
def test_a_landmark_stays_on_its_spot(config: Augmentation) -> None:
    point_B2 = torch.rand(32, 2, generator=torch.Generator().manual_seed(2)) * 90 + 83
    crop_BCHW, landmarks_BL2, _ = augment(_spots(point_B2), point_B2[:, None].expand(-1, 68, -1), _changes(32, 64, config))
    assert (landmarks_BL2[:, 0] - point_B2).abs().max() > 3
    assert torch.allclose(_centre(crop_BCHW), landmarks_BL2[:, 0], atol=0.6)


def test_half_of_the_images_are_mirrored_and_named() -> None:
    point_B2, changes = torch.tensor([[60.0, 100.0]]).expand(200, 2), _changes(200, 64, replace(STILL, flip=True))
    crop_BCHW, _, mirrored_B = augment(_spots(point_B2), point_B2[:, None].expand(-1, 68, -1), changes)
    assert 70 < mirrored_B.sum() < 130
    assert ((_centre(crop_BCHW)[:, 0] > 128) == mirrored_B).all()


def test_landmarks_of_a_mirrored_image_are_numbered_as_those_of_the_visible_person() -> None:
    torch.manual_seed(0)
    landmarks_BL2 = torch.rand(40, 68, 2) * 255
    changes = _changes(40, 16, replace(STILL, flip=True))
    _, moved_BL2, mirrored_B = augment(torch.zeros(40, 3, 16, 16), landmarks_BL2, changes)
    assert torch.allclose(moved_BL2[mirrored_B], flip_landmarks(landmarks_BL2[mirrored_B]), atol=1e-3)
    assert torch.allclose(moved_BL2[~mirrored_B], landmarks_BL2[~mirrored_B], atol=1e-3)


def test_nothing_changes_where_nothing_is_asked() -> None:
    crop_BCHW = torch.rand(2, 3, 16, 16) * 2 - 1
    landmarks_BL2 = torch.rand(2, 68, 2) * 255
    same, still, mirrored_B = augment(crop_BCHW, landmarks_BL2, _changes(2, 16, STILL))
    assert torch.allclose(same, crop_BCHW, atol=1e-5)
    assert torch.allclose(still, landmarks_BL2, atol=1e-3)
    assert not mirrored_B.any()


def test_relit_images_stay_in_the_range_of_an_input() -> None:
    changes = _changes(8, 16, Augmentation(gain=0.5, bias=0.5, noise=0.5))
    crop_BCHW, _, _ = augment(torch.ones(8, 3, 16, 16), torch.zeros(8, 68, 2), changes)
    assert crop_BCHW.abs().max() <= 1
    assert crop_BCHW.std() > 0.01


def test_a_share_of_a_batch_is_changed_as_it_is_within_the_whole() -> None:
    crop_BCHW = torch.rand(6, 3, 16, 16) * 2 - 1
    landmarks_BL2 = torch.rand(6, 68, 2) * 255
    changes, rows = _changes(6, 16, Augmentation()), slice(2, 5)
    whole = augment(crop_BCHW, landmarks_BL2, changes)
    share = augment(crop_BCHW[rows], landmarks_BL2[rows], changes.of(rows))
    assert all(torch.allclose(own, of_all[rows], atol=1e-6) for own, of_all in zip(share, whole, strict=True))
