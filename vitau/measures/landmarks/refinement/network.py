"""The refinement network: a small encoder and decoder whose heatmaps' centers of mass are the points of a patch.

Letters of shapes: B patches, C channels, H and W, K points.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from vitau.errors import CheckpointError, quoted
from vitau.measures.landmarks.refinement import WEIGHTS
from vitau.measures.landmarks.refinement.patches import LOWER, UPPER, Region

REGIONS: Final[dict[str, Region]] = {"upper": UPPER, "lower": LOWER}
"""One network per region."""
WIDTHS: Final = (32, 64, 64)
"""Channels at a quarter, an eighth and a sixteenth of the patch's resolution."""
_CELL: Final = 4


def _convolution(channels_in: int, channels_out: int, *, stride: int = 1, size: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, size, stride, size // 2, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(inplace=True),
    )


class PointNet(nn.Module):
    """Localizes ``num_points`` points of a patch.

    Cells of 4 × 4 px become channels, which is fast on a processor. A point is the center of mass of its heatmap, a softmax
    over all cells, so that it lies between them. A second output is the log of the error to expect.
    """

    def __init__(self, num_points: int, widths: Sequence[int] = WIDTHS) -> None:
        super().__init__()
        quarter, eighth, least = widths
        self.cells: nn.Module = nn.PixelUnshuffle(_CELL)
        self.stem = _convolution(3 * _CELL**2, quarter, size=1)
        self.quarter = nn.Sequential(_convolution(quarter, quarter), _convolution(quarter, quarter))
        self.eighth = nn.Sequential(_convolution(quarter, eighth, stride=2), _convolution(eighth, eighth))
        self.least = nn.Sequential(_convolution(eighth, least, stride=2), _convolution(least, least))
        self.to_eighth, self.to_quarter = nn.Conv2d(least, eighth, 1), nn.Conv2d(eighth, quarter, 1)
        self.decoded = _convolution(quarter, quarter)
        self.heatmaps = nn.Conv2d(quarter, num_points, 1)
        self.log_error = nn.Linear(least, num_points)

    def forward(self, patch_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points (B, K, 2), px of the patch, and the log of their expected error (B, K), in px."""
        quarter_BCHW = self.quarter(self.stem(self.cells(patch_BCHW)))
        eighth_BCHW = self.eighth(quarter_BCHW)
        least_BCHW = self.least(eighth_BCHW)
        decoded_BCHW = eighth_BCHW + functional.interpolate(self.to_eighth(least_BCHW), scale_factor=2.0)
        decoded_BCHW = quarter_BCHW + functional.interpolate(self.to_quarter(decoded_BCHW), scale_factor=2.0)
        logits_BKHW = self.heatmaps(self.decoded(decoded_BCHW))
        share_BKHW = torch.softmax(logits_BKHW.flatten(2), dim=-1).reshape(logits_BKHW.shape)
        y_H, x_W = (torch.arange(size) * _CELL + (_CELL - 1) / 2 for size in logits_BKHW.shape[2:])
        points_BK2 = torch.stack([(share_BKHW.sum(2) * x_W).sum(-1), (share_BKHW.sum(3) * y_H).sum(-1)], dim=-1)
        return points_BK2, self.log_error(least_BCHW.mean((2, 3)))


def to_input(patch_BHWC: NDArray[np.uint8]) -> Tensor:
    """Return patches as input of the network, (B, 3, H, W): without their own brightness and contrast."""
    pixels_BCHW = torch.from_numpy(patch_BHWC).permute(0, 3, 1, 2).float()  # stays channels-last
    num_values = patch_BHWC[0].size
    sample = (num_values / (num_values - 1)) ** 0.5
    moments_B2 = [[value.item() for value in cv2.meanStdDev(patch_HWC.reshape(-1))] for patch_HWC in patch_BHWC]
    mean, deviation = torch.tensor(moments_B2, dtype=torch.float32).reshape(-1, 2, 1, 1, 1).unbind(1)
    # a patch of one color stays without contrast
    return pixels_BCHW.sub_(mean).div_(deviation * sample + 4.0)


def save_networks(path: Path, networks: dict[str, PointNet], card: dict[str, Any]) -> None:
    """Write the networks of all regions as float16 with a card of how they were trained."""
    tensors = {
        f"{name}.{key}": (value.half() if value.is_floating_point() else value).contiguous()
        for name, network in networks.items()
        for key, value in network.state_dict().items()
        if not key.endswith("num_batches_tracked")
    }
    path.write_bytes(save(tensors, metadata={"card": json.dumps(card, sort_keys=True)}))


def load_networks(path: Path = WEIGHTS) -> dict[str, PointNet]:
    """Load the networks of all regions, ready for inference.

    Raises:
        CheckpointError: the file is missing, damaged, or of another network.
    """
    try:
        with safe_open(path, framework="pt") as file:
            stored = {key: file.get_tensor(key).float() for key in file.keys()}  # noqa: SIM118 - a safe_open is no dict
            widths = json.loads(file.metadata()["card"])["widths"]
        networks: dict[str, PointNet] = {}
        for name, region in REGIONS.items():
            networks[name] = PointNet(len(region.points), widths).eval()
            own = {key.removeprefix(f"{name}."): value for key, value in stored.items() if key.startswith(f"{name}.")}
            missing = networks[name].load_state_dict(own, strict=False).missing_keys
            if any(not key.endswith("num_batches_tracked") for key in missing):
                raise CheckpointError(f"{quoted(path)} has no weights {missing[0]} of the region {name}; train it again")
            _fuse(networks[name])
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise CheckpointError(f"the refinement {quoted(path)} cannot be loaded: {quoted(error)}") from error
    return networks


def _fuse(network: PointNet) -> None:
    """Merge what is merged without changing the points, which is faster: normalizations, and the cells into the first layer."""
    for block in network.modules():
        if isinstance(block, nn.Sequential) and isinstance(block[0], nn.Conv2d) and isinstance(block[1], nn.BatchNorm2d):
            block[0], block[1] = fuse_conv_bn_eval(block[0], block[1]), nn.Identity()
    by_cell = network.stem[0]
    assert isinstance(by_cell, nn.Conv2d)
    by_pixel = nn.Conv2d(3, by_cell.out_channels, _CELL, _CELL)
    by_pixel.weight = nn.Parameter(by_cell.weight.reshape(-1, 3, _CELL, _CELL))
    by_pixel.bias = by_cell.bias
    network.cells, network.stem[0] = nn.Identity(), by_pixel
    network.to(memory_format=torch.channels_last)
