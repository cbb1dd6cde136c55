"""Small changes of a training picture that leave its labels true: mirror, move, relight."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from vitau.models.heatmaps import MIRROR
from vitau.schema import CROP_SIZE
from vitau.training.config import Augmentation


def augment(crop_BCHW: Tensor, landmarks_BL2: Tensor, config: Augmentation) -> tuple[Tensor, Tensor, Tensor]:
    """Vary pictures and move their landmarks with them; say which are now mirror images.

    In a mirrored picture the landmarks are renumbered: 36 is the outer corner of the right eye of the person one sees.

    Args:
        crop_BCHW: float32 in [−1, 1].
        landmarks_BL2: px of a 256 crop.
        config: how much.

    Returns:
        Pictures and landmarks of the same shapes, and mirrored (B,) bool; drawn from torch's global generator.
    """
    batch = len(crop_BCHW)

    def uniform(width: float) -> Tensor:
        return (torch.rand(batch) * 2 - 1) * width

    angle_B, scale_B = uniform(math.radians(config.rotate_deg)), 1 + uniform(config.scale)
    mirror_B = torch.where(torch.rand(batch) < 0.5, -1.0, 1.0) if config.flip else torch.ones(batch)
    cos_B, sin_B = torch.cos(angle_B) * scale_B, torch.sin(angle_B) * scale_B
    shift_B2 = torch.stack([uniform(2 * config.shift), uniform(2 * config.shift)], dim=1)
    linear_B22 = torch.stack([torch.stack([cos_B * mirror_B, -sin_B], 1), torch.stack([sin_B * mirror_B, cos_B], 1)], 1)
    new_to_old_B23 = torch.cat([linear_B22, shift_B2[..., None]], dim=2).to(crop_BCHW)
    grid = functional.affine_grid(new_to_old_B23, list(crop_BCHW.shape), align_corners=False)
    crop_BCHW = functional.grid_sample(crop_BCHW, grid, mode="bilinear", padding_mode="reflection", align_corners=False)
    old_BL2 = (landmarks_BL2 + 0.5) / CROP_SIZE * 2 - 1
    new_BL2 = (old_BL2 - shift_B2.to(old_BL2)[:, None]) @ torch.linalg.inv(linear_B22.to(old_BL2)).mT
    landmarks_BL2 = (new_BL2 + 1) / 2 * CROP_SIZE - 0.5
    landmarks_BL2 = torch.where(mirror_B.to(landmarks_BL2)[:, None, None] < 0, landmarks_BL2[:, list(MIRROR)], landmarks_BL2)
    light_B311 = 1 + uniform(config.gain).view(-1, 1, 1, 1), uniform(config.bias).view(-1, 1, 1, 1)
    tint_B311 = (torch.rand(batch, 3, 1, 1) * 2 - 1) * config.tint
    crop_BCHW = crop_BCHW * light_B311[0].to(crop_BCHW) + (light_B311[1] + tint_B311).to(crop_BCHW)
    crop_BCHW = crop_BCHW + torch.randn_like(crop_BCHW) * (config.noise * torch.rand(batch, 1, 1, 1).to(crop_BCHW))
    return crop_BCHW.clamp(-1, 1), landmarks_BL2, (mirror_B < 0).to(crop_BCHW.device)
