"""The losses by name: of two answers for recognition, of heatmaps for the regions."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor
from torch.nn import functional

# B image, A region, H row, W column


def cross_entropy(logits_B2: Tensor, palsied_B: Tensor) -> Tensor:
    """Cross-entropy of the logits (B, 2) with a bool or 0/1 truth (B,); a scalar."""
    return functional.cross_entropy(logits_B2, palsied_B.long())


def mse(heatmaps_BAHW: Tensor, true_BAHW: Tensor, known_BA: Tensor) -> Tensor:
    """Mean squared error of the heatmaps, averaged over the regions whose label is known; a scalar."""
    return _over_known(((heatmaps_BAHW - true_BAHW) ** 2).mean((-2, -1)), known_BA)


def bce_with_logits(heatmaps_BAHW: Tensor, true_BAHW: Tensor, known_BA: Tensor) -> Tensor:
    """Binary cross-entropy of the heatmaps as logits with the true maps moved from [−1, 1] to [0, 1]; a scalar."""
    error = functional.binary_cross_entropy_with_logits(heatmaps_BAHW, (true_BAHW + 1) / 2, reduction="none")
    return _over_known(error.mean((-2, -1)), known_BA)


PALSY_LOSSES: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = MappingProxyType({"cross_entropy": cross_entropy})
REGION_LOSSES: Final[Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = MappingProxyType(
    {"mse": mse, "bce_with_logits": bce_with_logits}
)


def _over_known(error_BA: Tensor, known_BA: Tensor) -> Tensor:
    known_BA = known_BA.to(error_BA)
    return (error_BA * known_BA).sum() / torch.clamp(known_BA.sum(), min=1)
