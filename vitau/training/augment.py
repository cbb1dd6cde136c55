"""Augmentation of training images that keeps their labels valid: mirroring, geometry, lighting, noise and the camera.

Axes: B images, C channels, H, W px; K kernel; N blocks of 8×8 px down and M across.
"""

import math
from dataclasses import dataclass, fields
from typing import Final, Self

import torch
from torch import Tensor
from torch.nn import functional

from vitau.schema import CROP_SIZE, MIRROR
from vitau.training.config import Augmentation, CameraChanges

_LUMA: Final = (0.299, 0.587, 0.114)
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
    """Random parameters of B augmented images: angle in rad, mirror −1 or 1, the others in the units of the input."""

    angle_B: Tensor
    scale_B: Tensor
    mirror_B: Tensor
    shift_B2: Tensor
    gain_B: Tensor
    bias_B: Tensor
    tint_B3: Tensor
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
    noise_BHWC = torch.randn(batch, size, size, 3, generator=generator, device=device)  # channels last, as the images are
    return Changes(
        angle_B=uniform(math.radians(config.rotate_deg)),
        scale_B=1 + uniform(config.scale),
        mirror_B=torch.where(coin_B < 0.5 * config.flip, -1.0, 1.0),
        shift_B2=uniform(2 * config.shift, 2),
        gain_B=1 + uniform(config.gain),
        bias_B=uniform(config.bias),
        tint_B3=uniform(config.tint, 3),
        noise_BCHW=noise_BHWC.permute(0, 3, 1, 2) * strength_B[:, None, None, None],
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


def augment(crop_BCHW: Tensor, landmarks_BL2: Tensor, changes: Changes) -> tuple[Tensor, Tensor, Tensor]:
    """Transform images and their landmarks, and return which images are mirrored.

    In a mirrored image the landmarks are renumbered: 36 is always the outer corner of the visible person's right eye.

    Args:
        crop_BCHW: float32 in [−1, 1].
        landmarks_BL2: px of a 256 crop.
        changes: of :func:`draw_changes`, on the same device.

    Returns:
        Images and landmarks of the same shapes, and mirrored (B,) bool.
    """
    mirror_B = changes.mirror_B
    cos_B, sin_B = torch.cos(changes.angle_B) * changes.scale_B, torch.sin(changes.angle_B) * changes.scale_B
    linear_B22 = torch.stack([torch.stack([cos_B * mirror_B, -sin_B], 1), torch.stack([sin_B * mirror_B, cos_B], 1)], 1)
    new_to_old_B23 = torch.cat([linear_B22, changes.shift_B2[..., None]], dim=2)
    grid = functional.affine_grid(new_to_old_B23, list(crop_BCHW.shape), align_corners=False)
    crop_BCHW = functional.grid_sample(crop_BCHW, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    old_BL2 = (landmarks_BL2 + 0.5) / CROP_SIZE * 2 - 1
    new_BL2 = (old_BL2 - changes.shift_B2[:, None]) @ torch.linalg.inv(linear_B22).mT
    landmarks_BL2 = (new_BL2 + 1) / 2 * CROP_SIZE - 0.5
    landmarks_BL2 = torch.where(mirror_B[:, None, None] < 0, landmarks_BL2[:, list(MIRROR)], landmarks_BL2)
    if changes.recording is not None:
        crop_BCHW = blur(crop_BCHW, changes.recording.blur_B)
    color_BC11 = (changes.bias_B[:, None] + changes.tint_B3)[:, :, None, None]
    crop_BCHW.mul_(changes.gain_B[:, None, None, None]).add_(color_BC11).add_(changes.noise_BCHW).clamp_(-1, 1)
    if changes.recording is not None:
        crop_BCHW = torch.where(changes.recording.gray_B[:, None, None, None], to_gray(crop_BCHW), crop_BCHW)
        crop_BCHW = encode_jpeg(crop_BCHW, changes.recording.quality_B)
    return crop_BCHW, landmarks_BL2, mirror_B < 0


def to_gray(crop_BCHW: Tensor) -> Tensor:
    """Return the luma of images in all three channels."""
    luma_C = crop_BCHW.new_tensor(_LUMA)
    return (crop_BCHW * luma_C[:, None, None]).sum(1, keepdim=True).expand_as(crop_BCHW)


def blur(crop_BCHW: Tensor, sd_B: Tensor) -> Tensor:
    """Blur every image by a Gaussian with its own standard deviation, px; borders are reflected."""
    num_images, num_channels, height, width = crop_BCHW.shape
    reach = max(1, math.ceil(3 * float(sd_B.max())))
    offset_K = torch.arange(-reach, reach + 1, device=crop_BCHW.device)
    weight_BK = torch.exp(-0.5 * (offset_K / sd_B.clamp(min=1e-3)[:, None]) ** 2)
    weight_BK = (weight_BK / weight_BK.sum(1, keepdim=True)).repeat_interleave(num_channels, 0)
    image_1DHW = crop_BCHW.reshape(1, num_images * num_channels, height, width)
    padded_1DHW = functional.pad(image_1DHW, (reach,) * 4, mode="reflect")
    rows_1DHW = functional.conv2d(padded_1DHW, weight_BK[:, None, None, :], groups=num_images * num_channels)
    blurred_1DHW = functional.conv2d(rows_1DHW, weight_BK[:, None, :, None], groups=num_images * num_channels)
    return blurred_1DHW.view_as(crop_BCHW)


def encode_jpeg(crop_BCHW: Tensor, quality_B: Tensor) -> Tensor:
    """Return images as a JPEG of their quality, 1 to 100, gives them back; unchanged where it is 0.

    The cosine transform of 8×8 blocks is quantized as in baseline JPEG with the tables of its Annex K; color has half the
    resolution. Sides are filled to multiples of 16 by their border.
    """
    height, width = crop_BCHW.shape[-2:]
    filled_BCHW = functional.pad(crop_BCHW, (0, -width % (2 * _BLOCK), 0, -height % (2 * _BLOCK)), mode="replicate")
    red_BHW, green_BHW, blue_BHW = ((filled_BCHW + 1) * 127.5).round().unbind(1)
    luma_BHW = _LUMA[0] * red_BHW + _LUMA[1] * green_BHW + _LUMA[2] * blue_BHW
    scale_B = torch.where(quality_B < 50, 5000 / quality_B.clamp(min=1), 200 - 2 * quality_B)
    shown_BHW = _quantize(luma_BHW - 128, scale_B, _LUMA_STEPS) + 128
    to_blue_BHW = _quantize_halved((blue_BHW - luma_BHW) / 1.772, scale_B)
    to_red_BHW = _quantize_halved((red_BHW - luma_BHW) / 1.402, scale_B)
    colors = (1.402 * to_red_BHW, -0.344136 * to_blue_BHW - 0.714136 * to_red_BHW, 1.772 * to_blue_BHW)
    decoded_BCHW = torch.stack([shown_BHW + color_BHW for color_BHW in colors], 1).round().clamp(0, 255)
    encoded_BCHW = (decoded_BCHW / 127.5 - 1)[..., :height, :width]
    return torch.where(quality_B[:, None, None, None] > 0, encoded_BCHW, crop_BCHW)


def _quantize_halved(color_BHW: Tensor, scale_B: Tensor) -> Tensor:
    """Quantize a color at half the resolution, and enlarge it again."""
    halved_B1HW = functional.avg_pool2d(color_BHW[:, None], 2)
    quantized_BHW = _quantize(halved_B1HW[:, 0].round(), scale_B, _CHROMA_STEPS)
    enlarged = functional.interpolate(quantized_BHW[:, None], scale_factor=2, mode="bilinear", align_corners=False)
    return enlarged[:, 0]


def _quantize(plane_BHW: Tensor, scale_B: Tensor, steps: tuple[int, ...]) -> Tensor:
    """Quantize the cosine transform of 8×8 blocks of a plane of values in −128 to 127."""
    transform_88 = _cosines(plane_BHW)
    steps_88 = plane_BHW.new_tensor(steps).view(_BLOCK, _BLOCK)
    step_B1188 = ((steps_88 * scale_B[:, None, None] + 50) / 100).floor().clamp(1, 255)[:, None, None]
    blocks_BNM88 = plane_BHW.unfold(1, _BLOCK, _BLOCK).unfold(2, _BLOCK, _BLOCK)
    frequencies_BNM88 = transform_88 @ blocks_BNM88 @ transform_88.T
    quantized_BNM88 = (frequencies_BNM88 / step_B1188).round() * step_B1188
    return (transform_88.T @ quantized_BNM88 @ transform_88).transpose(2, 3).reshape(plane_BHW.shape)


def _cosines(like: Tensor) -> Tensor:
    """Return the orthonormal cosine transform of 8 values, (8, 8)."""
    number_8 = torch.arange(_BLOCK, device=like.device, dtype=like.dtype)
    cosine_88 = torch.cos(math.pi / _BLOCK * number_8[:, None] * (number_8 + 0.5)) * math.sqrt(2 / _BLOCK)
    cosine_88[0] /= math.sqrt(2)
    return cosine_88
