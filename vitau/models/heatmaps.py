"""Heatmaps of the 8 regions: drawn from landmarks and labels, read back as scores, turned with a mirrored face."""

from typing import Final

import torch
from torch import Tensor

from vitau.schema import CROP_SIZE, NUM_LANDMARKS

# B image, L landmark (68), A region (8, in the order of schema.AUS), P peak of a region (2), H row, W column

MIRROR: Final[tuple[int, ...]] = (
    *range(16, -1, -1),  # jaw
    *range(26, 16, -1),  # brows
    *range(27, 31),  # bridge of the nose
    *range(35, 30, -1),  # nostrils
    *(45, 44, 43, 42, 47, 46),  # an eye
    *(39, 38, 37, 36, 41, 40),  # the other
    *range(54, 47, -1),  # outer lip, upper
    *range(59, 54, -1),  # outer lip, lower
    *range(64, 59, -1),  # inner lip, upper
    *range(67, 64, -1),  # inner lip, lower
)
"""Which of the 68 landmarks takes each one's place in a mirrored face."""

CUT: Final = 0.01
"""Gaussians below this are zero."""


def peaks(landmarks_BL2: Tensor) -> Tensor:
    """Find where the two Gaussians of every region stand.

    Args:
        landmarks_BL2: 68 points per image, x and y in px.

    Returns:
        (B, 8, 2, 2): region in the order of ``schema.AUS``, peak, x and y in px (table of METHOD §1). AU6 stands under
        the eyes by the distance between the inner canthi.

    Raises:
        ValueError: the landmarks are not (B, 68, 2).
    """
    if landmarks_BL2.ndim != 3 or landmarks_BL2.shape[1:] != (NUM_LANDMARKS, 2):
        raise ValueError(
            f"landmarks must be of shape (B, 68, 2), these are {tuple(landmarks_BL2.shape)}: give 68 points an image"
        )
    p = landmarks_BL2
    brows = torch.stack([p[:, 17:22].mean(1), p[:, 22:27].mean(1)], dim=1)
    eyes = torch.stack([p[:, 36:42].mean(1), p[:, 42:48].mean(1)], dim=1)
    canthi_B = torch.linalg.vector_norm(p[:, 42] - p[:, 39], dim=-1)
    cheeks = eyes + torch.stack([torch.zeros_like(canthi_B), canthi_B], dim=-1)[:, None]
    points = p[:, [21, 22, 17, 26, 39, 42, 48, 54, 51, 57, 56, 58]].reshape(-1, 6, 2, 2)
    au1, au2, au9, au12, au25, au26 = points.unbind(1)
    return torch.stack([au1, au2, brows, cheeks, au9, au12, au25, au26], dim=1)


def true_heatmaps(landmarks_BL2: Tensor, affected_BA: Tensor, size: int = 128, sigma: float | None = None) -> Tensor:
    """Draw what the region model should answer.

    Two Gaussians of height 1 per region, cut to 0 below 0.01, positive for an affected region and negative for one that is not;
    their sum is clipped to [−1, 1] (METHOD §4, after FG-Net).

    Args:
        landmarks_BL2: px of the 256 crop.
        affected_BA: bool or 0/1 per region; 0.5 leaves an unknown region's map empty.
        size: side of the heatmaps, px.
        sigma: of the Gaussians, px of the heatmap; by default 20 at size 128 and in proportion at others.

    Returns:
        float32 (B, 8, size, size) in [−1, 1] on the landmarks' device.
    """
    sigma = 20.0 * size / 128 if sigma is None else sigma
    peaks_BAP2 = peaks(landmarks_BL2.float()) * (size / CROP_SIZE)
    grid = torch.arange(size, device=landmarks_BL2.device, dtype=torch.float32)
    bell_BAP2S = torch.exp(-((grid - peaks_BAP2[..., None]) ** 2) / (2 * sigma**2))
    x_BAPW, y_BAPH = bell_BAP2S.unbind(3)
    bell_BAPHW = y_BAPH[..., :, None] * x_BAPW[..., None, :]
    bell_BAPHW = torch.where(bell_BAPHW < CUT, 0.0, bell_BAPHW)
    sign_BA = 2 * affected_BA.to(bell_BAPHW) - 1
    return (bell_BAPHW.sum(2) * sign_BA[..., None, None]).clamp(-1, 1)


def decode(heatmaps_BAHW: Tensor) -> Tensor:
    """Read the scores from heatmaps: the mean of each map clamped to [−1, 1]; above 0 the region is affected.

    Returns:
        (B, 8) in [−1, 1].
    """
    return heatmaps_BAHW.clamp(-1, 1).mean((-2, -1))


def flip_landmarks(landmarks_BL2: Tensor, size: int = CROP_SIZE) -> Tensor:
    """Mirror landmarks together with their picture of width ``size`` px: x turns round and paired points change places."""
    mirrored = landmarks_BL2[..., list(MIRROR), :].clone()
    mirrored[..., 0] = size - 1 - mirrored[..., 0]
    return mirrored
