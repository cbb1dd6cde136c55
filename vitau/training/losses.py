"""Losses by name, for recognition and for the heatmaps of the regions, and the auxiliary loss of the sides.

Each loss is a mean over the batch, and over the shards of all processes.
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitau.models.regions import RegionModel
from vitau.models.vit import PalsyViT
from vitau.schema import AUS
from vitau.training.parallel import mean

# B image, A region, H row, W column, N position (2·H·W); a leading 3 is affected, neither, unaffected


def cross_entropy(logits_B2: Tensor, palsied_B: Tensor) -> Tensor:
    """Compute the cross-entropy of the logits (B, 2) with a bool or 0/1 truth (B,); a scalar."""
    return mean(functional.cross_entropy(logits_B2, palsied_B.long(), reduction="sum"), len(palsied_B))


def mse(heatmaps_BAHW: Tensor, true_BAHW: Tensor, known_BA: Tensor) -> Tensor:
    """Compute the mean squared error of the heatmaps, averaged over the regions whose label is known; a scalar."""
    return _over_known(((heatmaps_BAHW - true_BAHW) ** 2).mean((-2, -1)), known_BA)


def bce_with_logits(heatmaps_BAHW: Tensor, true_BAHW: Tensor, known_BA: Tensor) -> Tensor:
    """Compute the binary cross-entropy of the heatmaps as logits with the true maps moved from [−1, 1] to [0, 1]; a scalar."""
    error = functional.binary_cross_entropy_with_logits(heatmaps_BAHW, (true_BAHW + 1) / 2, reduction="none")
    return _over_known(error.mean((-2, -1)), known_BA)


def heatmap_cross_entropy(heatmaps_BAHW: Tensor, true_BAHW: Tensor, known_BA: Tensor) -> Tensor:
    """Compute the cross-entropy of each pixel's three classes, averaged over the regions whose label is known; a scalar.

    The paper names this loss but does not define it for a signed map. Here a pixel of height h has the logits (h, 0, −h) for
    affected, neither and unaffected. Its truth t is (max(t, 0), 1 − |t|, max(−t, 0)). At the minimum the expected sign is t,
    so h has the sign of t and is 0 where t is 0, which is what ``decode`` in the models reads.
    """
    target_3BAHW = torch.stack([true_BAHW.clamp(min=0), 1 - true_BAHW.abs(), (-true_BAHW).clamp(min=0)])
    logit_3BAHW = torch.stack([heatmaps_BAHW, torch.zeros_like(heatmaps_BAHW), -heatmaps_BAHW])
    error_BAHW = -(target_3BAHW * logit_3BAHW.log_softmax(0)).sum(0)
    return _over_known(error_BAHW.mean((-2, -1)), known_BA)


def kl(heatmaps_BAHW: Tensor, true_BAHW: Tensor, known_BA: Tensor) -> Tensor:
    """Compute the Kullback–Leibler divergence of the maps over space, over the regions with a known label; a scalar.

    The paper names this loss but does not define it for a signed map. Per pixel it would differ from the cross-entropy by a
    constant, so it is taken over space. The true map becomes one distribution over 2·H·W positions: its positive part and its
    negative part side by side, divided by their sum. The heatmap h becomes the softmax of (h, −h) over the same positions. At
    the minimum h has the sign of the truth and is 0 where it is 0. An empty true map has no gradient.
    """
    target_BAN = torch.cat([true_BAHW.clamp(min=0).flatten(2), (-true_BAHW).clamp(min=0).flatten(2)], dim=2)
    target_BAN = target_BAN / target_BAN.sum(2, keepdim=True).clamp(min=torch.finfo(target_BAN.dtype).tiny)
    log_BAN = torch.cat([heatmaps_BAHW.flatten(2), -heatmaps_BAHW.flatten(2)], dim=2).log_softmax(2)
    return _over_known(functional.kl_div(log_BAN, target_BAN, reduction="none").sum(2), known_BA)


class WithSides(nn.Module):
    """A model with an auxiliary head for training only: which side of each region is affected.

    The head is a linear layer on the ViT's class token or the encoder's styles, and is dropped after training. A call returns
    the output of the model; ``sided_BA2`` then holds the logits of the person's right and left side of each region.
    """

    def __init__(self, model: PalsyViT | RegionModel) -> None:
        super().__init__()
        self.model = model
        self.sided_BA2: Tensor | None = None
        if isinstance(model, PalsyViT):
            self.head = nn.Linear(model.vit.embed_dim, len(AUS) * 2)
            model.vit.norm.register_forward_hook(lambda _module, _inputs, token_BND: self._read(token_BND[:, 0]))
        else:
            config = model.config.encoder
            self.head = nn.Linear(config.num_styles * config.style_dim, len(AUS) * 2)
            model.encoder.register_forward_hook(lambda _module, _inputs, style_BSD: self._read(style_BSD.flatten(1)))

    def forward(self, crop_BCHW: Tensor) -> Tensor:
        """Return the output of the model."""
        output: Tensor = self.model(crop_BCHW)
        return output

    def loss(self, sided_BA2: Tensor, known_BA: Tensor) -> Tensor:
        """Compute the binary cross-entropy of the sides of the last call over the regions with a known label; a scalar."""
        assert self.sided_BA2 is not None
        error_BA2 = functional.binary_cross_entropy_with_logits(self.sided_BA2, sided_BA2.float(), reduction="none")
        return mean((error_BA2.mean(-1) * known_BA).sum(), known_BA.sum())

    def _read(self, feature_BD: Tensor) -> None:
        self.sided_BA2 = self.head(feature_BD).unflatten(1, (len(AUS), 2))


PALSY_LOSSES: Final[Mapping[str, Callable[[Tensor, Tensor], Tensor]]] = MappingProxyType({"cross_entropy": cross_entropy})
REGION_LOSSES: Final[Mapping[str, Callable[[Tensor, Tensor, Tensor], Tensor]]] = MappingProxyType(
    {"mse": mse, "bce_with_logits": bce_with_logits, "kl": kl, "cross_entropy": heatmap_cross_entropy}
)


def _over_known(error_BA: Tensor, known_BA: Tensor) -> Tensor:
    known_BA = known_BA.to(error_BA)
    return mean((error_BA * known_BA).sum(), known_BA.sum())
