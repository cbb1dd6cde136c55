"""Heatmaps of the 8 regions: drawn from landmarks and labels, decoded to scores, mirrored with a face."""

from typing import Final

import torch
from torch import Tensor

from vitau.schema import AU, AUS, CROP_SIZE, MIRROR, NUM_LANDMARKS

# B image, L landmark (68), A region (8, in the order of schema.AUS), P peak of a region (2), H row, W column, S either,
# N map of any image and region, M some of them
# a trailing 2 of landmarks and peaks is x and y; of what is sided, the person's right and left

CUT: Final = 0.01
"""Gaussians below this are zero."""
_BELOW_CUT: Final = float(torch.nextafter(torch.tensor(CUT), torch.tensor(0.0)))  # torch keeps what exceeds a threshold
_CACHED: Final = 1 << 19
"""Values of heatmaps that are drawn at a time."""

_BROWS, _CHEEKS = AUS.index(AU.AU4), AUS.index(AU.AU6)
_POINTS: Final = torch.tensor([21, 22, 17, 26, *[0] * 4, 39, 42, 48, 54, 51, 57, 56, 58])
"""Landmarks at the peaks of each region; those of the brows and the cheeks lie between landmarks."""


def peaks(landmarks_BL2: Tensor) -> Tensor:
    """Compute the centers of the two Gaussians of every region.

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
    peaks_BAP2 = p[:, _POINTS.to(p.device)].reshape(len(p), 8, 2, 2)
    peaks_BAP2[:, _BROWS] = p[:, 17:27].reshape(len(p), 2, 5, 2).mean(2)
    peaks_BAP2[:, _CHEEKS] = p[:, 36:48].reshape(len(p), 2, 6, 2).mean(2)
    peaks_BAP2[:, _CHEEKS, :, 1] += torch.linalg.vector_norm(p[:, 42] - p[:, 39], dim=-1)[:, None]
    return peaks_BAP2


def sided_peaks(landmarks_BL2: Tensor) -> Tensor:
    """Compute the center of the Gaussian of each side of every region.

    They are those of :func:`peaks`, ordered by the person's own sides; AU25, whose peaks are the upper and the lower lip,
    stands halfway between the middle of the lips and each corner instead.

    Args:
        landmarks_BL2: 68 points per image, x and y in px.

    Returns:
        (B, 8, 2, 2): region, right and left, x and y in px.

    Raises:
        ValueError: the landmarks are not (B, 68, 2).
    """
    au1, au2, au4, au6, au9, au12, _lips, au26 = peaks(landmarks_BL2).unbind(1)
    lips = torch.stack([landmarks_BL2[:, points].mean(1) for points in ([49, 50, 58, 59], [52, 53, 55, 56])], dim=1)
    return torch.stack([au1, au2, au4, au6, au9, au12, lips, au26.flip(1)], dim=1)


def true_heatmaps(landmarks_BL2: Tensor, affected_BA: Tensor, size: int = 128, sigma: float | None = None) -> Tensor:
    """Draw the true heatmaps of the region model.

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
    return _signed_bells(peaks(landmarks_BL2.float()), affected_BA[..., None].expand(-1, -1, 2), size, sigma)


def sided_heatmaps(landmarks_BL2: Tensor, sided_BA2: Tensor, size: int = 128, sigma: float | None = None) -> Tensor:
    """Draw the true heatmaps of a sided region model: as :func:`true_heatmaps`, but each side's Gaussian has its own sign.

    Args:
        landmarks_BL2: px of the 256 crop, numbered as the image shows the person (see :func:`flip_landmarks`).
        sided_BA2: bool, whether the person's right and left side of each region is affected.
        size: side of the heatmaps, px.
        sigma: of the Gaussians, px of the heatmap; by default 20 at size 128 and in proportion at others.

    Returns:
        float32 (B, 8, size, size) in [−1, 1] on the landmarks' device.
    """
    return _signed_bells(sided_peaks(landmarks_BL2.float()), sided_BA2, size, sigma)


def _signed_bells(peaks_BAP2: Tensor, affected_BAP: Tensor, size: int, sigma: float | None) -> Tensor:
    """Draw a Gaussian at each peak, positive where it is affected, and add the peaks of each region."""
    sigma = 20.0 * size / 128 if sigma is None else sigma
    grid = torch.arange(size, device=peaks_BAP2.device, dtype=torch.float32)
    bell_BAP2S = (grid - peaks_BAP2[..., None] * (size / CROP_SIZE)).square_().div_(-2 * sigma**2).exp_()
    bell_BAP2S[:, :, :, 0] *= (2 * affected_BAP.to(bell_BAP2S) - 1)[..., None]
    bell_NP2S = bell_BAP2S.flatten(0, 1)
    heatmap_NHW = bell_NP2S.new_empty((len(bell_NP2S), size, size))
    # a few maps at a time stay in a processor's cache, which is several times faster
    num_maps = max(1, _CACHED // size**2) if heatmap_NHW.device.type == "cpu" else max(1, len(heatmap_NHW))
    second_MHW = heatmap_NHW.new_empty((min(num_maps, len(heatmap_NHW)), size, size))
    for first in range(0, len(heatmap_NHW), num_maps):
        map_MHW = heatmap_NHW[first : first + num_maps]
        x_MPS, y_MPS = bell_NP2S[first : first + num_maps].unbind(2)
        for peak, drawn_MHW in enumerate((map_MHW, second_MHW[: len(map_MHW)])):
            torch.mul(y_MPS[:, peak, :, None], x_MPS[:, peak, None, :], out=drawn_MHW)
            torch.hardshrink(drawn_MHW, _BELOW_CUT, out=drawn_MHW)
        map_MHW.add_(drawn_MHW).clamp_(-1, 1)
    return heatmap_NHW.reshape(*affected_BAP.shape[:2], size, size)


def decode(heatmaps_BAHW: Tensor) -> Tensor:
    """Compute the scores of heatmaps: the mean of each map clamped to [−1, 1]; above 0 the region is affected.

    Returns:
        (B, 8) in [−1, 1].
    """
    return heatmaps_BAHW.clamp(-1, 1).mean((-2, -1))


def decode_sides(heatmaps_BAHW: Tensor) -> Tensor:
    """Compute the scores of each side from sided heatmaps: the mean, clamped to [−1, 1], over its half of the map.

    An aligned face has its midline in the middle, so the person's right is the left half. Where both sides of a region lie
    close together, opposite signs pull their heatmap apart into the two halves.

    Returns:
        (B, 8, 2) in [−1, 1]: right and left; above 0 the side is affected, and a region is affected where its larger score is.
    """
    right_BAHW, left_BAHW = heatmaps_BAHW.clamp(-1, 1).chunk(2, dim=-1)
    return torch.stack([right_BAHW.mean((-2, -1)), left_BAHW.mean((-2, -1))], dim=-1)


def region_side_probability(score_BA2: Tensor, threshold_A: Tensor, region: float, side: float | None) -> Tensor:
    """Convert the scores of :func:`decode_sides` to probabilities (B, 8, 2) that a side of a region is affected.

    It is the probability that the region is affected times that of the side, and both sides add up to the former: a palsy is
    nearly always on one side. Both are logistic curves without an offset, fitted on validation people (Platt, 1999).

    Args:
        score_BA2: right and left scores of the regions.
        threshold_A: (8,) of the regions.
        region: scale of the larger score less the threshold.
        side: scale of the difference between the sides. Models of before have none; each side's score is then scaled alone.
    """
    if side is None:
        return torch.sigmoid(region * score_BA2)
    affected_BA = torch.sigmoid(region * (score_BA2.amax(-1) - threshold_A))
    right_BA = torch.sigmoid(side * (score_BA2[..., 0] - score_BA2[..., 1]))
    return affected_BA[..., None] * torch.stack([right_BA, 1 - right_BA], dim=-1)


def right_side_probability(score_BA2: Tensor, scale: float) -> Tensor:
    """Convert the scores of :func:`decode_sides` to the probability (B,) that the right side of the face is affected.

    It depends on the mean difference between the sides over all regions; ``scale`` is that of a logistic curve through 0.
    """
    return torch.sigmoid(scale * side_difference(score_BA2))


def side_difference(score_BA2: Tensor) -> Tensor:
    """Return the mean over the regions of right minus left (B,), in [−2, 2]."""
    return (score_BA2[..., 0] - score_BA2[..., 1]).mean(-1)


def flip_landmarks(landmarks_BL2: Tensor, size: int = CROP_SIZE) -> Tensor:
    """Mirror landmarks in an image of width ``size`` px: x is reflected and paired points are swapped."""
    mirrored = landmarks_BL2[..., list(MIRROR), :].clone()
    mirrored[..., 0] = size - 1 - mirrored[..., 0]
    return mirrored
