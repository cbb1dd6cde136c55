"""Augmentation of training images that keeps their labels valid: mirroring, geometry, lighting and noise."""

import math
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from vitau.schema import CROP_SIZE, MIRROR
from vitau.training.config import Augmentation


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

    def of(self, rows: slice) -> Self:
        """Return the parameters of some of the images."""
        return type(self)(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})


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
    color_BC11 = (changes.bias_B[:, None] + changes.tint_B3)[:, :, None, None]
    crop_BCHW.mul_(changes.gain_B[:, None, None, None]).add_(color_BC11).add_(changes.noise_BCHW).clamp_(-1, 1)
    return crop_BCHW, landmarks_BL2, mirror_B < 0
