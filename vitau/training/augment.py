"""Augmentation of training images that keeps their labels valid: mirroring, geometry, lighting, noise and the camera.

Axes: B images, C channels, H, W px; K kernel; N blocks of 8×8 px down and M across.
"""

import math
from dataclasses import dataclass, fields
from typing import Final, Self

import torch
from torch import Tensor
from torch.nn import functional

from vitau.models.inputs import to_input
from vitau.schema import CROP_SIZE, MIRROR
from vitau.training.config import Augmentation, CameraChanges

_LUMA: Final = (0.299, 0.587, 0.114)
_CACHED: Final = 1 << 18
"""Values of images that are changed at a time."""
_LEVELS: Final = torch.special.ndtri((torch.arange(256, dtype=torch.float64) + 0.5) / 256)
NOISE_256: Final = (_LEVELS / _LEVELS.square().mean().sqrt()).float()
"""Noise of mean 0 and deviation 1 by a random byte: the quantiles of a normal distribution in 256 equal shares.

It ends at 2.9 deviations. The noise of a camera's sensor comes in whole levels too, of which a photo has 256.
"""
_BLOCK: Final = 8
# the tables of quantization of JPEG's Annex K, for luma and for chroma
_LUMA_STEPS: Final = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
_CHROMA_STEPS: Final = (
    *(17, 18, 24, 47, 99, 99, 99, 99),
    *(18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99),
    *(99,) * 32,
)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Recording:
    """The recordings from which B images seem to come.

    ``gray_B`` is bool, ``blur_B`` a standard deviation in px; ``quality_B`` is that of a JPEG, 0 for an image without one.
    """

    gray_B: Tensor
    blur_B: Tensor
    quality_B: Tensor

    def of(self, rows: slice) -> Self:
        """Return the parameters of some of the images."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Changes:
    """Random parameters of B augmented images: angle in rad, mirror −1 or 1, the others in the units of the input.

    ``noise_BCHW`` is random bytes, whose noise is in ``NOISE_256``; its standard deviation in the images is ``noise_sd_B``.
    """

    angle_B: Tensor
    scale_B: Tensor
    mirror_B: Tensor
    shift_B2: Tensor
    gain_B: Tensor
    bias_B: Tensor
    tint_B3: Tensor
    noise_sd_B: Tensor
    noise_BCHW: Tensor
    recording: Recording | None = None

    def of(self, rows: slice) -> Self:
        """Return the parameters of some of the images."""
        tensors = {field.name: getattr(self, field.name)[rows] for field in fields(self) if field.name != "recording"}
        return type(self)(**tensors, recording=self.recording and self.recording.of(rows))


def draw_changes(batch: int, size: int, config: Augmentation, generator: torch.Generator) -> Changes:
    """Draw the parameters of a batch of images with a side of ``size`` px, on the generator's device."""
    device = generator.device

    def uniform(width: float, *shape: int) -> Tensor:
        return (torch.rand(batch, *shape, generator=generator, device=device) * 2 - 1) * width

    coin_B = torch.rand(batch, generator=generator, device=device)
    strength_B = torch.rand(batch, generator=generator, device=device) * config.noise
    num_values = batch * 3 * size**2
    # eight bytes at a time: all 64 bits of an integer are random
    random = torch.empty(-(-num_values // 8), dtype=torch.int64, device=device).random_(-(1 << 63), None, generator=generator)
    return Changes(
        angle_B=uniform(math.radians(config.rotate_deg)),
        scale_B=1 + uniform(config.scale),
        mirror_B=torch.where(coin_B < 0.5 * config.flip, -1.0, 1.0),
        shift_B2=uniform(2 * config.shift, 2),
        gain_B=1 + uniform(config.gain),
        bias_B=uniform(config.bias),
        tint_B3=uniform(config.tint, 3),
        noise_sd_B=strength_B,
        noise_BCHW=random.view(torch.uint8)[:num_values].view(batch, 3, size, size),
        # drawn last: without changes of the camera, the others are those of before
        recording=None if config.camera is None else _draw_recording(batch, size, config.camera, generator),
    )


def _draw_recording(batch: int, size: int, config: CameraChanges, generator: torch.Generator) -> Recording:
    gray_B, blur_B, jpeg_B, quality_B = torch.rand(4, batch, generator=generator, device=generator.device)
    low, high = config.quality
    return Recording(
        gray_B=gray_B < config.gray,
        blur_B=blur_B * config.blur * size,
        quality_B=torch.where(jpeg_B < config.jpeg, low + quality_B * (high - low), 0.0),
    )


def augment(crop: Tensor, landmarks_BL2: Tensor, changes: Changes) -> tuple[Tensor, Tensor, Tensor]:
    """Transform images and their landmarks, and return which images are mirrored.

    In a mirrored image the landmarks are renumbered: 36 is always the outer corner of the visible person's right eye. On a
    processor a few images at a time are changed, so that they stay in its cache.

    Args:
        crop: float32 (B, 3, H, W) in [−1, 1], or uint8 (B, S, S, 3), which :func:`to_input` converts.
        landmarks_BL2: px of a 256 crop.
        changes: of :func:`draw_changes` for this size of images, on the same device.

    Returns:
        Images (B, 3, H, W) in [−1, 1], their landmarks, and mirrored (B,) bool.
    """
    cos_B, sin_B = torch.cos(changes.angle_B) * changes.scale_B, torch.sin(changes.angle_B) * changes.scale_B
    mirror_B = changes.mirror_B
    linear_B22 = torch.stack([torch.stack([cos_B * mirror_B, -sin_B], 1), torch.stack([sin_B * mirror_B, cos_B], 1)], 1)
    new_to_old_B23 = torch.cat([linear_B22, changes.shift_B2[..., None]], dim=2)
    old_BL2 = (landmarks_BL2 + 0.5) / CROP_SIZE * 2 - 1
    new_BL2 = (old_BL2 - changes.shift_B2[:, None]) @ torch.linalg.inv(linear_B22).mT
    landmarks_BL2 = (new_BL2 + 1) / 2 * CROP_SIZE - 0.5
    landmarks_BL2 = torch.where(mirror_B[:, None, None] < 0, landmarks_BL2[:, list(MIRROR)], landmarks_BL2)

    num_images, _, height, width = changes.noise_BCHW.shape
    reach = 0 if changes.recording is None else blur_reach(changes.recording.blur_B)
    step = max(1, _CACHED // (3 * height * width)) if crop.device.type == "cpu" else max(1, num_images)
    augmented_BCHW = torch.empty(changes.noise_BCHW.shape, device=crop.device)
    for first in range(0, num_images, step):
        rows = slice(first, first + step)
        crop_BCHW = to_input(crop[rows], height) if crop.dtype == torch.uint8 else crop[rows]
        warped_BCHW = _warp(crop_BCHW, new_to_old_B23[rows])
        _relight(warped_BCHW, changes.of(rows), reach, out=augmented_BCHW[rows])
    return augmented_BCHW, landmarks_BL2, mirror_B < 0


def _warp(crop_BCHW: Tensor, new_to_old_B23: Tensor) -> Tensor:
    """Sample images at transformed places, bilinearly; beyond the border, by up to a whole side, they are reflected."""
    x_W, y_H = (
        torch.linspace(-1, 1, side, device=crop_BCHW.device) * (side - 1) / side for side in crop_BCHW.shape[:1:-1]
    )  # the image spans −1 to 1
    from_x_B2, from_y_B2, shift_B2 = new_to_old_B23.unbind(2)
    across_B2W, down_B2H = from_x_B2[..., None] * x_W + shift_B2[..., None], from_y_B2[..., None] * y_H
    old_B2HW = across_B2W[:, :, None, :] + down_B2H[..., None]
    # the same as grid_sample's own reflection, whose arithmetic takes longer than this
    reflected_B2HW = old_B2HW.clamp(-1, 1).mul_(2).sub_(old_B2HW)
    return functional.grid_sample(
        crop_BCHW.contiguous(memory_format=torch.channels_last),  # neighbors are in one place of the memory
        reflected_B2HW.permute(0, 2, 3, 1),
        padding_mode="border",
        align_corners=False,
    )


def _relight(crop_BCHW: Tensor, changes: Changes, reach: int, *, out: Tensor) -> None:
    """Apply all changes of pixel values."""
    if changes.recording is not None:
        crop_BCHW = blur(crop_BCHW, changes.recording.blur_B, reach)
    _draw_colored_noise(changes, out)
    out.addcmul_(crop_BCHW, changes.gain_B[:, None, None, None]).clamp_(-1, 1)
    if changes.recording is None:
        return
    gray_B, quality_B = changes.recording.gray_B, changes.recording.quality_B
    if gray_B.any():
        out[gray_B] = to_gray(out[gray_B])
    encoded_B = quality_B > 0
    if encoded_B.any():
        out[encoded_B] = encode_jpeg(out[encoded_B], quality_B[encoded_B])


def _draw_colored_noise(changes: Changes, out: Tensor) -> None:
    """Write noise with the deviation of each image, and with the change of its colors as the mean."""
    color_BC1 = (changes.bias_B[:, None] + changes.tint_B3)[..., None]
    table_BC256 = color_BC1 + changes.noise_sd_B[:, None, None] * NOISE_256.to(out.device)
    if out.device.type != "cpu":
        torch.gather(table_BC256, 2, changes.noise_BCHW.flatten(2).long(), out=out.flatten(2))
        return
    import cv2

    planes = (changes.noise_BCHW.flatten(0, 1).numpy(), table_BC256.flatten(0, 1).numpy(), out.flatten(0, 1).numpy())
    for byte_HW, table_256, drawn_HW in zip(*planes, strict=True):
        cv2.LUT(byte_HW, table_256, dst=drawn_HW)


def to_gray(crop_BCHW: Tensor) -> Tensor:
    """Return the luma of images in all three channels."""
    luma_C = crop_BCHW.new_tensor(_LUMA)
    return (crop_BCHW * luma_C[:, None, None]).sum(1, keepdim=True).expand_as(crop_BCHW)


def blur(crop_BCHW: Tensor, sd_B: Tensor, reach: int | None = None) -> Tensor:
    """Blur every image by a Gaussian with its own standard deviation, px; borders are reflected.

    The Gaussian ends ``reach`` px from its center, by default where the widest one of these images falls to 3 deviations.
    """
    reach = blur_reach(sd_B) if reach is None else reach
    offset_K = torch.arange(-reach, reach + 1, device=crop_BCHW.device)
    weight_BK = torch.exp(-0.5 * (offset_K / sd_B.clamp(min=1e-3)[:, None]) ** 2)
    weight_BK = weight_BK / weight_BK.sum(1, keepdim=True)
    if crop_BCHW.device.type == "cpu":
        return _blur_planes(crop_BCHW, weight_BK)
    num_images, num_channels, height, width = crop_BCHW.shape
    weight_DK = weight_BK.repeat_interleave(num_channels, 0)
    padded_1DHW = functional.pad(crop_BCHW.reshape(1, -1, height, width), (reach,) * 4, mode="reflect")
    rows_1DHW = functional.conv2d(padded_1DHW, weight_DK[:, None, None, :], groups=num_images * num_channels)
    blurred_1DHW = functional.conv2d(rows_1DHW, weight_DK[:, None, :, None], groups=num_images * num_channels)
    return blurred_1DHW.view_as(crop_BCHW)


def blur_reach(sd_B: Tensor) -> int:
    """Return how far, px, the Gaussians of a batch reach: all of them as far as the widest one."""
    return max(1, math.ceil(3 * float(sd_B.max())))


def _blur_planes(crop_BCHW: Tensor, weight_BK: Tensor) -> Tensor:
    """Filter rows and columns by OpenCV, whose filter of a single plane is many times faster on a processor."""
    import cv2

    blurred_BCHW = torch.empty_like(crop_BCHW, memory_format=torch.contiguous_format)
    for image_CHW, kernel_K, blurred_CHW in zip(crop_BCHW.numpy(), weight_BK.numpy(), blurred_BCHW.numpy(), strict=True):
        for plane_HW, blurred_HW in zip(image_CHW, blurred_CHW, strict=True):
            cv2.sepFilter2D(plane_HW, -1, kernel_K, kernel_K, dst=blurred_HW, borderType=cv2.BORDER_REFLECT_101)
    return blurred_BCHW


def encode_jpeg(crop_BCHW: Tensor, quality_B: Tensor) -> Tensor:
    """Return images as a JPEG of their quality, 1 to 100, gives them back; unchanged where it is 0.

    The cosine transform of 8×8 blocks is quantized as in baseline JPEG with the tables of its Annex K; color has half the
    resolution. Sides are filled to multiples of 16 by their border.
    """
    height, width = crop_BCHW.shape[-2:]
    filled_BCHW = functional.pad(crop_BCHW, (0, -width % (2 * _BLOCK), 0, -height % (2 * _BLOCK)), mode="replicate")
    red_BHW, green_BHW, blue_BHW = ((filled_BCHW + 1) * 127.5).round_().unbind(1)
    luma_BHW = (_LUMA[0] * red_BHW).add_(green_BHW, alpha=_LUMA[1]).add_(blue_BHW, alpha=_LUMA[2])
    scale_B = torch.where(quality_B < 50, 5000 / quality_B.clamp(min=1), 200 - 2 * quality_B)
    to_blue_BHW = _quantize_halved((blue_BHW - luma_BHW).div_(1.772), scale_B)
    to_red_BHW = _quantize_halved((red_BHW - luma_BHW).div_(1.402), scale_B)
    shown_BHW = _quantize(luma_BHW.sub_(128), scale_B, _LUMA_STEPS).add_(128)
    decoded_BCHW = torch.stack(
        [
            torch.add(shown_BHW, to_red_BHW, alpha=1.402),
            torch.add(shown_BHW, to_blue_BHW, alpha=-0.344136).add_(to_red_BHW, alpha=-0.714136),
            torch.add(shown_BHW, to_blue_BHW, alpha=1.772),
        ],
        1,
    )
    encoded_BCHW = decoded_BCHW.round_().clamp_(0, 255).div_(127.5).sub_(1)[..., :height, :width]
    return torch.where(quality_B[:, None, None, None] > 0, encoded_BCHW, crop_BCHW)


def _quantize_halved(color_BHW: Tensor, scale_B: Tensor) -> Tensor:
    """Quantize a color at half the resolution, and enlarge it again."""
    halved_B1HW = functional.avg_pool2d(color_BHW[:, None], 2)
    quantized_BHW = _quantize(halved_B1HW[:, 0].round_(), scale_B, _CHROMA_STEPS)
    enlarged = functional.interpolate(quantized_BHW[:, None], scale_factor=2, mode="bilinear", align_corners=False)
    return enlarged[:, 0]


def _quantize(plane_BHW: Tensor, scale_B: Tensor, steps: tuple[int, ...]) -> Tensor:
    """Quantize the cosine transform of 8×8 blocks of a plane of values in −128 to 127.

    Blocks stay in the rows of the plane, so that nothing is copied: a row of N blocks is an array (8, W).
    """
    num_images, height, width = plane_BHW.shape
    transform_88 = _cosines(plane_BHW)
    steps_8W = plane_BHW.new_tensor(steps).view(_BLOCK, _BLOCK).repeat(1, width // _BLOCK)
    step_B18W = ((steps_8W * scale_B[:, None, None] + 50) / 100).floor_().clamp_(1, 255)[:, None]
    across_BHW = (plane_BHW.reshape(-1, _BLOCK) @ transform_88.T).view_as(plane_BHW)
    frequencies_BN8W = transform_88 @ across_BHW.view(num_images, height // _BLOCK, _BLOCK, width)
    frequencies_BN8W.div_(step_B18W).round_().mul_(step_B18W)
    back_BN8W = transform_88.T @ frequencies_BN8W
    return (back_BN8W.view(-1, _BLOCK) @ transform_88).view_as(plane_BHW)


def _cosines(like: Tensor) -> Tensor:
    """Return the orthonormal cosine transform of 8 values, (8, 8)."""
    number_8 = torch.arange(_BLOCK, device=like.device, dtype=like.dtype)
    cosine_88 = torch.cos(math.pi / _BLOCK * number_8[:, None] * (number_8 + 0.5)) * math.sqrt(2 / _BLOCK)
    cosine_88[0] /= math.sqrt(2)
    return cosine_88
