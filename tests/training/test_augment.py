"""A changed image keeps its landmarks on the same pixels."""

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from vitau.media.synthetic.drawing import draw_crop
from vitau.media.synthetic.people import draw_person
from vitau.models.heatmaps import flip_landmarks
from vitau.models.inputs import to_input
from vitau.training.augment import Changes, augment, blur, draw_changes, encode_jpeg, to_gray
from vitau.training.config import Augmentation, CameraChanges

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


@pytest.mark.parametrize("size", [16, 48, 320])
def test_an_image_is_sampled_and_reflected_as_torch_does(size: int) -> None:
    config = replace(STILL, flip=True, rotate_deg=20, scale=0.2, shift=0.1)
    crop_BCHW, changes = torch.rand(7, 3, size, size) * 2 - 1, _changes(7, size, config)
    ours, _, _ = augment(crop_BCHW, torch.zeros(7, 68, 2), changes)
    cos_B, sin_B = changes.angle_B.cos() * changes.scale_B, changes.angle_B.sin() * changes.scale_B
    x_B2, y_B2 = torch.stack([cos_B, sin_B], 1) * changes.mirror_B[:, None], torch.stack([-sin_B, cos_B], 1)
    grid = functional.affine_grid(torch.stack([x_B2, y_B2, changes.shift_B2], 2), list(crop_BCHW.shape), align_corners=False)
    theirs = functional.grid_sample(crop_BCHW, grid, padding_mode="reflection", align_corners=False)
    assert torch.allclose(ours, theirs, atol=1e-3), "the pixels are noise, in which a thousandth of a px matters"
    assert grid.abs().max() > 1.2


def test_pixels_are_changed_as_the_inputs_made_of_them() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)
    changes, landmarks_BL2 = _changes(3, 32, Augmentation()), torch.zeros(3, 68, 2)
    of_pixels, _, _ = augment(torch.from_numpy(pixels), landmarks_BL2, changes)
    of_inputs, _, _ = augment(to_input(pixels, 32), landmarks_BL2, changes)
    assert torch.equal(of_pixels, of_inputs)


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


def test_noise_is_normal_and_neither_neighbors_nor_channels_nor_images_nor_draws_share_it() -> None:
    config, generator, gray = replace(STILL, noise=0.1), torch.Generator().manual_seed(3), torch.zeros(4, 3, 96, 96)
    draws = [draw_changes(4, 96, config, generator) for _ in range(2)]
    images = [augment(gray, torch.zeros(4, 68, 2), changes)[0] / changes.noise_sd_B[:, None, None, None] for changes in draws]
    noise_NHW = torch.cat(images).flatten(0, 1)
    assert noise_NHW.mean((1, 2)).abs().max() < 0.05
    assert (noise_NHW.std((1, 2)) - 1).abs().max() < 0.05
    assert abs((noise_NHW**4).mean() - 3) < 0.15, "a uniform distribution has 1.8"
    planes_NV = noise_NHW.flatten(1)
    correlations = [torch.corrcoef(planes_NV).fill_diagonal_(0)]
    correlations += [(planes_NV[:, lag:] * planes_NV[:, :-lag]).mean(1) for lag in (1, 2, 3, 4, 8, 96, 97)]
    assert max(float(one.abs().max()) for one in correlations) < 0.055, "5 deviations of what chance gives"


def test_the_same_seed_draws_the_same_changes_and_another_one_draws_others() -> None:
    first, again, other = (draw_changes(3, 17, Augmentation(), torch.Generator().manual_seed(seed)) for seed in (5, 5, 6))
    names = [name for name in Changes.__slots__ if name not in {"recording", "mirror_B"}]
    assert all(torch.equal(getattr(first, name), getattr(again, name)) for name in names)
    assert not any(torch.equal(getattr(first, name), getattr(other, name)) for name in names)


def test_a_share_of_a_batch_is_changed_as_it_is_within_the_whole() -> None:
    crop_BCHW = torch.rand(6, 3, 16, 16) * 2 - 1
    landmarks_BL2 = torch.rand(6, 68, 2) * 255
    changes, rows = _changes(6, 16, Augmentation()), slice(2, 5)
    whole = augment(crop_BCHW, landmarks_BL2, changes)
    share = augment(crop_BCHW[rows], landmarks_BL2[rows], changes.of(rows))
    assert all(torch.allclose(own, of_all[rows], atol=1e-6) for own, of_all in zip(share, whole, strict=True))


def _people(size: int, num: int = 4) -> Tensor:
    """Drawn people as inputs (num, 3, size, size)."""
    rng = np.random.default_rng(0)
    images = [draw_crop(draw_person(2, index), "smile", 0.8, rng, size).image for index in range(num)]
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 127.5 - 1


def _pixels(crop_BCHW: Tensor) -> np.ndarray:
    return ((crop_BCHW + 1) * 127.5).round().byte().permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("quality", [20, 50, 75, 95])
@pytest.mark.parametrize("size", [64, 72, 128])
@pytest.mark.parametrize(("is_gray", "levels"), [(True, 0.3), (False, 1.5)])
def test_an_encoded_image_is_the_one_that_a_jpeg_library_gives(quality: int, size: int, is_gray: bool, levels: float) -> None:
    crop_BCHW = _people(size)
    if is_gray:
        crop_BCHW = torch.from_numpy(_pixels(to_gray(crop_BCHW))).permute(0, 3, 1, 2) / 127.5 - 1
    own = _pixels(encode_jpeg(crop_BCHW, torch.full((4,), float(quality)))).astype(int)
    for image, ours in zip(_pixels(crop_BCHW), own, strict=True):
        data = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        theirs = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1].astype(int)
        assert np.abs(ours - theirs).mean() < levels, "of 256; chroma is sampled by rules of the library's own"
        assert np.abs(ours - theirs).mean() < 0.6 * np.abs(image.astype(int) - theirs).mean(), "less than JPEG loses"


def test_an_image_of_quality_0_is_not_encoded_and_lower_quality_loses_more() -> None:
    crop_BCHW = _people(64)
    encoded_BCHW = encode_jpeg(crop_BCHW, torch.tensor([0.0, 20.0, 60.0, 100.0]))
    assert torch.equal(encoded_BCHW[0], crop_BCHW[0])
    lost = (encoded_BCHW - crop_BCHW)[1:].abs().mean((1, 2, 3)).tolist()
    assert lost[0] > lost[1] > lost[2] > 0


def test_a_blur_is_that_of_opencv_and_each_image_has_its_own() -> None:
    crop_BCHW, sd_B = _people(64), torch.tensor([0.0, 0.5, 1.0, 2.0])
    blurred = blur(crop_BCHW, sd_B).permute(0, 2, 3, 1).numpy()
    for image, ours, sd in zip(crop_BCHW.permute(0, 2, 3, 1).numpy(), blurred, sd_B.tolist(), strict=True):
        theirs = cv2.GaussianBlur(image, (13, 13), sd, borderType=cv2.BORDER_REFLECT_101) if sd else image
        assert np.abs(ours - theirs).max() < 2e-3


def test_a_gray_image_has_the_luma_of_opencv_in_every_channel() -> None:
    crop_BCHW = _people(64)
    gray = _pixels(to_gray(crop_BCHW)).astype(int)
    for image, ours in zip(_pixels(crop_BCHW), gray, strict=True):
        assert np.abs(ours - cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None]).max() <= 1


def test_a_share_of_the_images_is_gray_and_encoded_and_all_others_keep_their_color() -> None:
    config = replace(STILL, camera=CameraChanges(gray=0.5, blur=0, jpeg=0))
    changes = _changes(200, 16, config)
    colored = torch.tensor([0.5, -0.2, 0.1])[:, None, None].expand(200, 3, 16, 16).clone()
    changed_BCHW, _, _ = augment(colored, torch.zeros(200, 68, 2), changes)
    gray_B = (changed_BCHW[:, 0] - changed_BCHW[:, 1]).abs().amax((1, 2)) < 1e-6
    assert changes.recording is not None
    assert torch.equal(gray_B, changes.recording.gray_B)
    assert 70 < gray_B.sum() < 130
    assert torch.allclose(changed_BCHW[~gray_B], colored[~gray_B], atol=1e-5)
    encoded = _changes(200, 16, replace(STILL, camera=CameraChanges(jpeg=0.25, quality=(40, 60)))).recording
    assert encoded is not None
    assert 25 < (encoded.quality_B > 0).sum() < 75
    assert encoded.quality_B[encoded.quality_B > 0].min() >= 40
    assert encoded.quality_B.max() <= 60
    assert encoded.blur_B.max() <= 0.008 * 16


def test_changes_of_the_camera_leave_the_other_changes_as_they_were() -> None:
    plain, recorded = _changes(5, 16, Augmentation()), _changes(5, 16, Augmentation(camera=CameraChanges()))
    assert plain.recording is None
    names = [name for name in Changes.__slots__ if name != "recording"]
    assert all(torch.equal(getattr(plain, name), getattr(recorded, name)) for name in names)


def test_a_share_of_a_batch_is_recorded_as_it_is_within_the_whole() -> None:
    crop_BCHW, landmarks_BL2 = _people(32, 6), torch.rand(6, 68, 2) * 255
    changes, rows = _changes(6, 32, Augmentation(camera=CameraChanges())), slice(2, 5)
    whole, _, _ = augment(crop_BCHW, landmarks_BL2, changes)
    share, _, _ = augment(crop_BCHW[rows], landmarks_BL2[rows], changes.of(rows))
    assert torch.allclose(share, whole[rows], atol=1e-2)
