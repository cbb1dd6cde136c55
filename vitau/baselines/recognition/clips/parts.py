"""The four parts of a face that PHCNN compares: both eyes with their brows and both halves of the mouth, left ones mirrored.

Axes: B images, C channels, S side of a part, px; the parts are right eye, left eye, right and left half of the mouth.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitau.schema import CROP_SIZE

NUM_PARTS: Final = 4
_RIGHT_EYE, _LEFT_EYE = slice(36, 42), slice(42, 48)
_MOUTH: Final = slice(48, 68)
_EYE_SIDE: Final = 1.0
_MOUTH_SIDE: Final = 0.8
_EYE_RAISED: Final = 0.12
_HALF_SHIFT: Final = 0.3


def part_centers(landmarks_BL2: Tensor) -> tuple[Tensor, Tensor]:
    """Return centers (B, 4, 2) and sides (B, 4) of the parts, px of a crop of 256.

    All lengths are in distances between the eyes. A part of an eye has the side 1 and lies 0.12 above the eye's center. A half
    of the mouth has the side 0.8 and lies 0.3 beside the mouth's center. The picture is upright, as aligned crops are.
    """
    right_B2, left_B2 = landmarks_BL2[:, _RIGHT_EYE].mean(1), landmarks_BL2[:, _LEFT_EYE].mean(1)
    distance_B1 = (left_B2 - right_B2).norm(dim=1, keepdim=True)
    mouth_B2 = landmarks_BL2[:, _MOUTH].mean(1)
    raised_B2 = distance_B1 * landmarks_BL2.new_tensor([0.0, -_EYE_RAISED])
    beside_B2 = distance_B1 * landmarks_BL2.new_tensor([_HALF_SHIFT, 0.0])
    center_B42 = torch.stack([right_B2 + raised_B2, left_B2 + raised_B2, mouth_B2 - beside_B2, mouth_B2 + beside_B2], 1)
    return center_B42, distance_B1 * landmarks_BL2.new_tensor([_EYE_SIDE, _EYE_SIDE, _MOUTH_SIDE, _MOUTH_SIDE])


def cut_parts(crop_BCHW: Tensor, landmarks_BL2: Tensor, side: int) -> Tensor:
    """Cut the four parts (B, 4, C, S, S) out of crops, those of the person's left side mirrored; borders are repeated."""
    center_B42, length_B4 = part_centers(landmarks_BL2)
    offset_S = (torch.arange(side, device=crop_BCHW.device) + 0.5) / side - 0.5
    mirror_4 = crop_BCHW.new_tensor([1.0, -1.0, 1.0, -1.0])
    x_B4S = center_B42[..., :1] + 0.5 + length_B4[..., None] * mirror_4[:, None] * offset_S
    y_B4S = center_B42[..., 1:] + 0.5 + length_B4[..., None] * offset_S
    size = (*x_B4S.shape, side)
    grid_B4SS2 = torch.stack([x_B4S[:, :, None].expand(size), y_B4S[..., None].expand(size)], -1) / (CROP_SIZE / 2) - 1
    crops = crop_BCHW.repeat_interleave(NUM_PARTS, 0)
    parts = functional.grid_sample(crops, grid_B4SS2.flatten(0, 1), padding_mode="border", align_corners=False)
    return parts.view(-1, NUM_PARTS, *parts.shape[1:])


class PartEncoder(nn.Module):
    """One network of four convolutions for all parts; two sides of a pair are described by both and their distance.

    A call returns (B, 6·D): for the eyes, then for the mouth, right features, left features and |left − right|.
    """

    def __init__(self, part_px: int, channels: tuple[int, ...]) -> None:
        super().__init__()
        self.part_px = part_px
        layers: list[nn.Module] = []
        for before, after in zip((3, *channels[:-1]), channels, strict=True):
            convolution = nn.Conv2d(before, after, 3, padding=1, bias=False)
            layers += [convolution, nn.BatchNorm2d(after), nn.ReLU(inplace=True), nn.MaxPool2d(2, ceil_mode=True)]
        self.layers = nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.num_features = 6 * channels[-1]

    def forward(self, crop_BCHW: Tensor, landmarks_BL2: Tensor) -> Tensor:
        """Return the features of faces."""
        parts = cut_parts(crop_BCHW, landmarks_BL2, self.part_px)
        feature_B4D = self.layers(parts.flatten(0, 1)).unflatten(0, (-1, NUM_PARTS))
        right_B2D, left_B2D = feature_B4D[:, 0::2], feature_B4D[:, 1::2]
        return torch.cat([right_B2D, left_B2D, (left_B2D - right_B2D).abs()], 2).flatten(1)
