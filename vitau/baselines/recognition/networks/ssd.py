"""Improved SSD-style: a single-shot detector finds the face as a normal or a palsied one.

H. P. Shi, Y. Q. Fan, Y. Zhang and others, *Intelligent Bell facial paralysis assessment: a facial recognition model using
improved SSD network*, Scientific Reports 14, 2024. The article's 87.9 is an average precision over three grades.

The authors': a single-shot detector with a lighter backbone finds the face and grades its palsy. Ours: torchvision's
``ssdlite320_mobilenet_v3_large`` with the classes normal and palsied and one box, the bounding box of the landmarks. The
score is that of the best box. Fresh weights, AdamW at 1e-4; weights may be brought to torchvision's network.

Axes: B images, C channels, H, W px; K detections.
"""

from typing import Any, Final

import torch
from torch import Tensor, nn
from torchvision.models.detection import ssdlite320_mobilenet_v3_large

from vitau.baselines.fitting import FrameMethod, Settings
from vitau.schema import CROP_SIZE
from vitau.training.tasks import Batch

_NORMAL: Final = 1
_PALSIED: Final = 2
_UNDECIDED: Final = 0.5
_CANDIDATES: Final = 5
_MOMENTUM: Final = 0.1
"""Of the statistics of batch normalization; torchvision's 0.03 needs hundreds of steps from fresh weights."""


def improved_ssd() -> FrameMethod:
    """Return the method."""
    return FrameMethod(
        name="improved-ssd",
        title="Improved SSD-style",
        task="palsy",
        image_px=320,
        build=lambda _budget, image_px: build_ssd(image_px),
        objective=detection_loss,
        read=detection_score,
        settings=Settings(lr=1e-4, grad_clip=5.0),
    )


def build_ssd(image_px: int) -> nn.Module:
    """Build the detector with fresh weights for square images of ``image_px``."""
    network = ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=3)
    network.transform.fixed_size = (image_px, image_px)
    network.topk_candidates, network.detections_per_img = _CANDIDATES, 1  # the best box is the same, in less time
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = _MOMENTUM
    detector: nn.Module = network
    return detector


def face_boxes(landmarks_BL2: Tensor, side: int) -> Tensor:
    """Return the boxes (B, 4) of the landmarks, x and y of two corners, px of an image of ``side``.

    A box lies within the image and is at least 1 px wide and high, which the detector needs.
    """
    point_BL2 = landmarks_BL2 * (side / CROP_SIZE)
    low_B2 = point_BL2.amin(1).clamp(0, side - 1)
    high_B2 = torch.maximum(point_BL2.amax(1).clamp(max=side), low_B2 + 1)
    return torch.cat([low_B2, high_B2], 1)


def detection_loss(network: nn.Module, batch: Batch) -> Tensor:
    """Compute the sum of the detector's losses of box and class; a scalar."""
    box_B4 = face_boxes(batch.landmarks_BL2, batch.crop_BCHW.shape[-1])
    label_B = torch.where(batch.palsied_B, _PALSIED, _NORMAL)
    targets = [{"boxes": box_4[None], "labels": label[None]} for box_4, label in zip(box_B4, label_B, strict=True)]
    losses: dict[str, Tensor] = network(list((batch.crop_BCHW + 1) / 2), targets)
    return torch.stack(list(losses.values())).sum()


def detection_score(network: nn.Module, batch: Batch) -> Tensor:
    """Compute the score (B,) of a palsy from each image's detections."""
    found: list[dict[str, Tensor]] = network(list((batch.crop_BCHW + 1) / 2))
    return torch.stack([score_of(detections) for detections in found])


def score_of(detections: dict[str, Any]) -> Tensor:
    """Return the score of the best box, a scalar: its probability if palsied, 1 less it if normal; 0.5 without a box.

    Args:
        detections: ``scores`` (K,) in [0, 1] and ``labels`` (K,) as torchvision returns them.
    """
    score_K: Tensor = detections["scores"]
    if not len(score_K):
        return score_K.new_tensor(_UNDECIDED)
    best = int(score_K.argmax())
    return score_K[best] if int(detections["labels"][best]) == _PALSIED else 1 - score_K[best]
