"""JAA-Net-style: attention around each region that starts from landmarks and is refined, with landmarks as a second task.

Shao, Liu, Cai, Ma, *JÂA-Net: Joint Facial Action Unit Detection and Face Alignment via Adaptive Attention*, International
Journal of Computer Vision 129, 2021. The authors': two hierarchical multi-scale region layers, an alignment net for 49
landmarks, attention that falls with the distance from a region's two centers and is refined by four convolutions, a local and
a global branch, weighted softmax and Dice losses, 176 px. Ours: attention starts from the given landmarks, not from those that
the network finds; the centers are those of ViTAU's heatmaps; the distance of the eye centers scales the error of the landmarks;
no loss on the local branch alone. Weights are fresh.

The paper's Table 2 holds this method's published F1 on DISFA, not an accuracy on palsied faces.

Axes: B images, C channels, H rows, W columns, S side of a map, A regions (8), P peaks of a region (2), L landmarks.
"""

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final

import torch
from torch import Tensor, nn

from vitau.baselines.fitting import FittedFrames, FrameMethod, Settings
from vitau.baselines.method import Budget
from vitau.baselines.regions.au_rcnn import eye_distance
from vitau.baselines.regions.drml import Cells
from vitau.baselines.regions.losses import region_weights, weighted_dice, weighted_softmax
from vitau.baselines.regions.prevalence import prevalences
from vitau.data.dataset import Crops
from vitau.data.protocols import Task
from vitau.models.heatmaps import peaks
from vitau.schema import AUS, CROP_SIZE
from vitau.training.tasks import Batch

IMAGE_PX: Final = 176
INNER_49: Final = (*range(17, 60), *range(61, 64), *range(65, 68))
"""The 49 landmarks: of the 68, those of the jaw and the inner corners of the lips are left out."""
BORDER: Final = 4
"""Of an attention map on each side; the four refining convolutions consume it."""
FALL: Final = 0.56
REACH: Final = 0.14
LANDMARK_WEIGHT: Final = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class JaaNet:
    """Train region layers, attention and landmarks together.

    Attributes:
        settings: of the optimizer.
    """

    settings: Settings = field(default_factory=lambda: Settings(optimizer="sgd", lr=1e-2, own_lr=True))
    name: str = "jaa-net"
    title: str = "JAA-Net-style"
    task: Task = "regions"

    def fit(self, train: Crops, valid: Crops, budget: Budget, *, seed: int) -> FittedFrames:
        """Train on palsied people with labels, on images of a multiple of 16 px and at least 64 px.

        See :class:`vitau.baselines.method.Method`.
        """
        weight_A = region_weights(torch.from_numpy(prevalences(train)).float()).to(budget.device)

        def objective(network: nn.Module, batch: Batch) -> Tensor:
            logit_BA2, found_BL2 = network(batch.crop_BCHW, batch.landmarks_BL2)
            return joint_loss(logit_BA2, found_BL2, batch, weight_A)

        method = FrameMethod(
            name=self.name,
            title=self.title,
            task=self.task,
            image_px=IMAGE_PX,
            multiple_px=16,
            least_px=64,
            build=lambda budget, image_px: JaaNetwork(image_px, budget.width),
            objective=objective,
            read=_read,
            settings=self.settings,
        )
        return method.fit(train, valid, budget, seed=seed)


class JaaNetwork(nn.Module):
    """The network from an image and its landmarks to two logits per region and 49 landmarks.

    ``width`` multiplies the channels.
    """

    def __init__(self, image_px: int = IMAGE_PX, width: float = 1.0) -> None:
        super().__init__()
        if image_px % 16 or image_px < 64:
            raise ValueError(f"JAA-Net's cells do not fit an input of {image_px} px: take a multiple of 16 from 64")
        unit = max(1, round(8 * width))
        side = image_px // 4
        self.shared = nn.Sequential(
            *(HierarchicalRegionLayer(3, 4 * unit), nn.MaxPool2d(2)),
            *(HierarchicalRegionLayer(4 * unit, 8 * unit), nn.MaxPool2d(2)),
        )
        self.align = _branch(8 * unit, 10 * unit, 12 * unit, 14 * unit)
        self.landmarks = nn.Sequential(
            nn.Flatten(), nn.Linear(14 * unit * (side // 8) ** 2, 64 * unit), nn.ReLU(), nn.Linear(64 * unit, 49 * 2)
        )
        self.refine = AttentionRefinement(unit)
        self.local = nn.ModuleList(_branch(8 * unit, 8 * unit, 8 * unit, 8 * unit) for _ in AUS)
        self.whole = _branch(8 * unit, 10 * unit, 12 * unit, 14 * unit)
        self.pool = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.last = nn.Linear((14 + 14 + 8) * unit, len(AUS) * 2)

    def forward(self, crop_BCHW: Tensor, landmarks_BL2: Tensor) -> tuple[Tensor, Tensor]:
        """Return logits (B, 8, 2), spared and affected, and landmarks (B, 49, 2) in px of a 256 crop."""
        shared_BCHW = self.shared(crop_BCHW)
        aligned_BCHW = self.align(shared_BCHW)
        found_BL2 = (self.landmarks(aligned_BCHW).unflatten(1, (49, 2)) + 0.5) * CROP_SIZE
        attention_BAHW = self.refine(attention_maps(peaks(landmarks_BL2), shared_BCHW.shape[-1]))
        local_BCHW = torch.stack(
            [
                branch(shared_BCHW * map_BHW[:, None])
                for branch, map_BHW in zip(self.local, attention_BAHW.unbind(1), strict=True)
            ]
        ).sum(0)
        joint_BD = torch.cat([self.pool(x_BCHW) for x_BCHW in (aligned_BCHW, self.whole(shared_BCHW), local_BCHW)], dim=1)
        logit_BA2: Tensor = self.last(joint_BD).unflatten(1, (len(AUS), 2))
        return logit_BA2, found_BL2


class HierarchicalRegionLayer(nn.Module):
    """A convolution, then three with own weights in the cells of grids of 8, 4 and 2, each of which reads the one before.

    The three give a half, a quarter and a quarter of the channels. Together they are added to the first.
    """

    def __init__(self, narrow: int, wide: int) -> None:
        super().__init__()
        self.first = _convolution(narrow, wide)
        widths = (wide, wide // 2, wide // 4, wide // 4)
        self.scales = nn.ModuleList(
            Cells(grid, _convolution(widths[level] * grid**2, widths[level + 1] * grid**2, groups=grid**2))
            for level, grid in enumerate((8, 4, 2))
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return maps (B, ``wide``, H, W)."""
        first_BCHW: Tensor = self.first(x_BCHW)
        results, y_BCHW = [], first_BCHW
        for cells in self.scales:
            y_BCHW = cells(y_BCHW)
            results.append(y_BCHW)
        return first_BCHW + torch.cat(results, dim=1)


class AttentionRefinement(nn.Module):
    """Four 3×3 convolutions without padding, for each region its own, from a map with a border to one in [0, 1] without."""

    def __init__(self, width: int) -> None:
        super().__init__()
        wide = len(AUS) * width

        def convolution(narrow: int, wide: int) -> nn.Module:
            return nn.Conv2d(narrow, wide, 3, groups=len(AUS))

        self.layers = nn.Sequential(
            *(convolution(len(AUS), wide), nn.ReLU()),
            *(convolution(wide, wide), nn.ReLU()),
            *(convolution(wide, wide), nn.ReLU()),
            *(convolution(wide, len(AUS)), nn.Sigmoid()),
        )

    def forward(self, attention_BASS: Tensor) -> Tensor:
        """Return maps (B, 8, S − 8, S − 8)."""
        refined_BASS: Tensor = self.layers(attention_BASS)
        return refined_BASS


def attention_maps(peak_BAP2: Tensor, side: int) -> Tensor:
    """Draw the attention from which the refinement starts.

    With S = side + 8, it is max(0, 1 − 0.56 d / (0.14 S)), where d is the city-block distance to the nearer peak, in points
    of the map; at a side of 44, S is 52.

    Args:
        peak_BAP2: px of a 256 crop.
        side: of the feature maps that the crop fills.

    Returns:
        (B, 8, S, S) in [0, 1]: the maps with a border of 4 points.
    """
    point_BAP2 = (peak_BAP2 + 0.5) * (side / CROP_SIZE) - 0.5 + BORDER
    with_border = side + 2 * BORDER
    grid_S = torch.arange(with_border, device=peak_BAP2.device, dtype=peak_BAP2.dtype)
    x_BAPS, y_BAPS = (grid_S - point_BAP2[..., None]).abs().unbind(3)
    distance_BASS = (y_BAPS[..., :, None] + x_BAPS[..., None, :]).amin(2)
    return (1 - FALL * distance_BASS / (REACH * with_border)).clamp(min=0)


def joint_loss(logit_BA2: Tensor, found_BL2: Tensor, batch: Batch, weight_A: Tensor) -> Tensor:
    """Compute the weighted softmax loss, plus the weighted Dice loss, plus half the error of the landmarks; a scalar."""
    probability_BA = logit_BA2.softmax(-1)[..., 1]
    return (
        weighted_softmax(logit_BA2, batch.affected_BA, batch.known_BA, weight_A)
        + weighted_dice(probability_BA, batch.affected_BA, batch.known_BA, weight_A)
        + LANDMARK_WEIGHT * landmark_error(found_BL2, batch.landmarks_BL2)
    )


def landmark_error(found_BL2: Tensor, landmarks_BL2: Tensor) -> Tensor:
    """Compute the sum of squared errors of the 49 landmarks over the squared distance of the eyes, averaged over images.

    Args:
        found_BL2: (B, 49, 2), px of a 256 crop.
        landmarks_BL2: the given ones, (B, 68, 2), px of a 256 crop.
    """
    error_B = ((found_BL2 - landmarks_BL2[:, list(INNER_49)]) ** 2).sum((1, 2))
    return (error_B / eye_distance(landmarks_BL2) ** 2).mean()


def _convolution(narrow: int, wide: int, groups: int = 1) -> nn.Module:
    convolution = nn.Conv2d(narrow, wide, 3, padding=1, groups=groups, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(wide), nn.ReLU())


def _branch(*widths: int) -> nn.Module:
    """Build three convolutions, each of which halves the map."""
    layers = [(_convolution(narrow, wide), nn.MaxPool2d(2)) for narrow, wide in pairwise(widths)]
    return nn.Sequential(*(layer for pair in layers for layer in pair))


def _read(network: nn.Module, batch: Batch) -> Tensor:
    logit_BA2, _ = network(batch.crop_BCHW, batch.landmarks_BL2)
    probability_BA: Tensor = logit_BA2.softmax(-1)[..., 1]
    return probability_BA
