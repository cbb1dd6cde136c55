"""DRML: a convolutional network with one layer whose weights differ from place to place.

Zhao, Chu, Zhang, *Deep Region and Multi-label Learning for Facial Action Unit Detection*, CVPR 2016. The paper's own citation
of it points to an unrelated article. The authors': the layers and their sizes, the input of 170 px, dropout of 0.5, and
stochastic gradient descent. Ours: the learning rate, the limit of the gradient, and labels of affected regions instead of
active ones. Weights are fresh.

Axes: B images, C channels, H rows, W columns, A regions (8).
"""

from typing import Final

from torch import Tensor, nn

from vitau.baselines.fitting import FrameMethod, Settings
from vitau.baselines.regions.losses import bce
from vitau.schema import AUS
from vitau.training.tasks import Batch

GRID: Final = 8


SETTINGS: Final = Settings(optimizer="sgd", lr=1e-3, weight_decay=5e-3)


def drml(settings: Settings = SETTINGS) -> FrameMethod:
    """Build the method; its input is 66 px plus a multiple of 8, to which a budget's side is rounded down."""
    return FrameMethod(
        name="drml",
        title="DRML",
        task="regions",
        image_px=170,
        multiple_px=8,
        least_px=66,
        build=lambda budget, image_px: DrmlNetwork(image_px, budget.width),
        objective=_objective,
        read=_read,
        settings=settings,
    )


class DrmlNetwork(nn.Module):
    """The network from an image (B, 3, S, S) to logits (B, 8); ``width`` multiplies the channels."""

    def __init__(self, image_px: int = 170, width: float = 1.0) -> None:
        super().__init__()
        side = ((image_px - 10) // 2 - 14 - 6) // 2 + 1 - 4
        if side < 1 or (image_px - 10) % GRID:
            raise ValueError(f"DRML's layers do not fit an input of {image_px} px: take 66, 74, 82, … px")
        first, later, hidden, last = (max(1, round(size * width)) for size in (32, 16, 4096, 2048))
        self.features = nn.Sequential(
            *(nn.Conv2d(3, first, 11), nn.ReLU()),
            *(RegionLayer(first), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(first, later, 8), nn.ReLU()),
            *(nn.Conv2d(later, later, 8), nn.ReLU()),
            *(nn.Conv2d(later, later, 6, stride=2), nn.ReLU()),
            *(nn.Conv2d(later, later, 5), nn.ReLU()),
        )
        self.head = nn.Sequential(
            nn.Flatten(),
            *(nn.Linear(later * side**2, hidden), nn.ReLU(), nn.Dropout(0.5)),
            *(nn.Linear(hidden, last), nn.ReLU(), nn.Dropout(0.5)),
            nn.Linear(last, len(AUS)),
        )

    def forward(self, crop_BCHW: Tensor) -> Tensor:
        """Return the logits (B, 8)."""
        logit_BA: Tensor = self.head(self.features(crop_BCHW))
        return logit_BA


class RegionLayer(nn.Module):
    """DRML's region layer: in each cell of a grid, batch norm, ReLU and a 3×3 convolution of its own, added to the cell."""

    def __init__(self, channels: int, grid: int = GRID) -> None:
        super().__init__()
        wide, cells = channels * grid**2, grid**2
        layers = nn.Sequential(nn.BatchNorm2d(wide), nn.ReLU(), nn.Conv2d(wide, wide, 3, padding=1, groups=cells))
        self.cells = Cells(grid, layers)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return maps of the same shape."""
        y_BCHW: Tensor = x_BCHW + self.cells(x_BCHW)
        return y_BCHW


class Cells(nn.Module):
    """Layers with weights of their own in the cells of a grid, which are padded with zeros and read no neighbor.

    Args:
        grid: number G of cells along each side of the maps, which it must divide.
        layers: from (B, G²·C, H/G, W/G) to any number of channels per cell; the cells lie row by row, so that layers per
            channel and convolutions of G² groups keep them apart. One call for all cells is faster than one for each.
    """

    def __init__(self, grid: int, layers: nn.Module) -> None:
        super().__init__()
        self.grid = grid
        self.layers = layers

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the cells' results, put together; the layers keep height and width."""
        grid, (batch, channels, height, width) = self.grid, x_BCHW.shape
        h, w = height // grid, width // grid
        cell_BGGChw = x_BCHW.reshape(batch, channels, grid, h, grid, w).permute(0, 2, 4, 1, 3, 5)
        layered: Tensor = self.layers(cell_BGGChw.reshape(batch, -1, h, w))
        cell_BGGChw = layered.reshape(batch, grid, grid, -1, h, w)
        return cell_BGGChw.permute(0, 3, 1, 4, 2, 5).reshape(batch, -1, height, width)


def _objective(network: nn.Module, batch: Batch) -> Tensor:
    return bce(network(batch.crop_BCHW), batch.affected_BA, batch.known_BA)


def _read(network: nn.Module, batch: Batch) -> Tensor:
    logit_BA: Tensor = network(batch.crop_BCHW)
    return logit_BA.sigmoid()
