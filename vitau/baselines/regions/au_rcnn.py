"""AU R-CNN-style: features of a ResNet, read in one box per region that the landmarks place.

Ma, Chen, Yong, *AU R-CNN: Encoding expert prior knowledge into R-CNN for action unit detection*, Neurocomputing 355, 2019. The
authors': a box per region from expert knowledge instead of proposals, features of a ResNet's fourth stage read in 14×14 points,
a shared fifth stage, average pooling, a hidden layer of 1000, a sigmoid per label, and 512 px. Ours: the boxes, ±0.35 distances
of the eyes around both peaks of a region; one label per box; a ResNet-50 of timm; RoIAlign. Weights are fresh; those of
ImageNet may be brought.

Axes: B images, A regions (8), L landmarks (68), C channels, H rows, W columns; 4 is left, top, right, bottom.
"""

from typing import Any, Final

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from vitau.baselines.fitting import FrameMethod, Settings
from vitau.baselines.recognition.networks.classifier import build_resnet
from vitau.baselines.regions.losses import bce
from vitau.models.heatmaps import peaks
from vitau.schema import AUS, CROP_SIZE
from vitau.training.tasks import Batch

IMAGE_PX: Final = 512
LEAST_ROI: Final = 2
MARGIN: Final = 0.35
"""Of a box around the peaks of its region, in distances of the eyes."""
HIDDEN: Final = 1000


SETTINGS: Final = Settings(optimizer="sgd", lr=1e-3)


def au_rcnn(backbone: str = "resnet50", roi_px: int = 14, settings: Settings = SETTINGS) -> FrameMethod:
    """Build the method.

    Args:
        backbone: timm's name of a ResNet.
        roi_px: side of the features of a box, points; see :func:`roi_side`.
        settings: of the optimizer.
    """
    return FrameMethod(
        name="au-rcnn",
        title="AU R-CNN-style",
        task="regions",
        image_px=IMAGE_PX,
        build=lambda budget, image_px: AuRcnnNetwork(backbone, roi_side(roi_px, image_px), budget.width),
        objective=_objective,
        read=_read,
        settings=settings,
    )


def roi_side(roi_px: int, image_px: int) -> int:
    """Return the side of the features of a box: that of the article's 512 px, less in proportion for a smaller image."""
    return max(LEAST_ROI, round(roi_px * image_px / IMAGE_PX))


class AuRcnnNetwork(nn.Module):
    """The network from an image and its landmarks to logits (B, 8); ``width`` multiplies the channels of the backbone."""

    def __init__(self, backbone: str, roi_px: int, width: float) -> None:
        super().__init__()
        resnet: Any = build_resnet(backbone, width, num_classes=0)
        self.roi_px = roi_px
        self.shared = nn.Sequential(
            *(resnet.conv1, resnet.bn1, resnet.act1, resnet.maxpool),
            *(resnet.layer1, resnet.layer2, resnet.layer3),
        )
        self.of_box = nn.Sequential(resnet.layer4, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.hidden = nn.Sequential(nn.Linear(resnet.num_features, HIDDEN), nn.ReLU())
        self.last = nn.Linear(HIDDEN, len(AUS))

    def forward(self, crop_BCHW: Tensor, landmarks_BL2: Tensor) -> Tensor:
        """Return the logits (B, 8) of images with landmarks in px of a 256 crop."""
        feature_BCHW = self.shared(crop_BCHW)
        roi_RCHW = box_features(feature_BCHW, region_boxes(landmarks_BL2), self.roi_px)
        hidden_BAD = self.hidden(self.of_box(roi_RCHW)).unflatten(0, (len(crop_BCHW), len(AUS)))
        # each region reads its own row of the last layer
        logit_BA: Tensor = (hidden_BAD * self.last.weight).sum(-1) + self.last.bias
        return logit_BA


def region_boxes(landmarks_BL2: Tensor) -> Tensor:
    """Return the box of each region: the union of squares around its two peaks, within the crop.

    Args:
        landmarks_BL2: px of a 256 crop, (B, 68, 2).

    Returns:
        (B, 8, 4): left, top, right and bottom edge in px from the outer corner of the crop's first pixel.
    """
    peak_BAP2 = peaks(landmarks_BL2) + 0.5  # the center of pixel 0 lies half a pixel from the edge
    margin_B = MARGIN * eye_distance(landmarks_BL2)[:, None, None]
    return torch.cat([peak_BAP2.amin(2) - margin_B, peak_BAP2.amax(2) + margin_B], dim=-1).clamp(0, CROP_SIZE)


def eye_distance(landmarks_BL2: Tensor) -> Tensor:
    """Return the distance (B,) between the centers of the eyes, in the landmarks' unit."""
    right_B2, left_B2 = landmarks_BL2[:, 36:42].mean(1), landmarks_BL2[:, 42:48].mean(1)
    distance_B: Tensor = torch.linalg.vector_norm(left_B2 - right_B2, dim=-1)
    return distance_B


def box_features(feature_BCHW: Tensor, box_BA4: Tensor, side: int) -> Tensor:
    """Read square features (B·A, C, side, side) in boxes by RoIAlign; the boxes of the first image come first."""
    scale = feature_BCHW.shape[-1] / CROP_SIZE
    roi_RCHW: Tensor = roi_align(
        feature_BCHW, list(box_BA4.to(feature_BCHW).unbind(0)), side, spatial_scale=scale, sampling_ratio=2, aligned=True
    )
    return roi_RCHW


def _objective(network: nn.Module, batch: Batch) -> Tensor:
    return bce(network(batch.crop_BCHW, batch.landmarks_BL2), batch.affected_BA, batch.known_BA)


def _read(network: nn.Module, batch: Batch) -> Tensor:
    logit_BA: Tensor = network(batch.crop_BCHW, batch.landmarks_BL2)
    return logit_BA.sigmoid()
