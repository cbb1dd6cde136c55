"""The recognition model: a vision transformer that classifies a face as healthy or palsied.

The paper writes the MLP with ReLU. timm's has GELU, which pretrained weights need.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import timm
import torch
from timm.models import is_model_in_modules
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, channels_last, nn

from vitau.models.recompute import Recomputing

# B image, C channel, H row, W column, N token (class and register tokens first), D width


@dataclass(frozen=True, kw_only=True)
class ViTConfig:
    """Architecture of a recognition ViT: one of timm's by name at any input size, or one of our own dimensions.

    With ``name``, such as ``vit_base_patch14_dinov2``, only ``input_size`` and ``dropout`` are used besides. A tag after a dot
    (``vit_base_patch16_224.mae``) chooses the mean and standard deviation of those weights.

    ``stem`` embeds the image as tokens: one convolution of the patch's size ("patch"), or a stack of small ones, which a small
    ViT on few images needs (Xiao et al., *Early convolutions help transformers see better*, NeurIPS 2021): one at each
    resolution ("conv") or two ("deep"), of ``stem_width`` channels at the finest, doubling up to the width; by default so that
    the last doubling reaches it. Dropout acts on positions, projections and the head.
    """

    name: str | None = None
    input_size: int = 256
    patch_size: int = 16
    width: int = 768
    depth: int = 12
    heads: int = 12
    register_tokens: int = 0
    stem: Literal["patch", "conv", "deep"] = "patch"
    stem_width: int | None = None
    dropout: float = 0.1


def build_vit(config: ViTConfig) -> "PalsyViT":
    """Build the model with fresh weights.

    Raises:
        ValueError: if timm has no vision transformer of that name, or the patch does not fit the input or the stem.
    """
    rates = {"drop_rate": config.dropout, "pos_drop_rate": config.dropout, "proj_drop_rate": config.dropout}
    if config.name is not None:
        if not is_model_in_modules(config.name.partition(".")[0], ["vision_transformer", "eva"]):
            known = "take one of timm.list_models(module='vision_transformer') or (module='eva')"
            raise ValueError(f"timm has no vision transformer named {config.name!r}: {known}")
        try:
            named = timm.create_model(config.name, pretrained=False, img_size=config.input_size, num_classes=2, **rates)
        except RuntimeError as unknown:  # timm's word for a tag that the architecture does not have
            raise ValueError(f"timm has no weights named {config.name!r}: leave out what follows the dot") from unknown
        if getattr(named, "rope_mixed", False):
            raise ValueError(
                f"{config.name} has rotary positions per block, which are not supported: take vit_base_patch16_dinov3"
            )
        return PalsyViT(config, named, Normalize(named.pretrained_cfg["mean"], named.pretrained_cfg["std"]))
    if config.input_size % config.patch_size:
        raise ValueError(f"patches of {config.patch_size} px do not tile an input of {config.input_size} px: choose a divisor")
    vit = VisionTransformer(
        img_size=config.input_size,
        patch_size=config.patch_size,
        num_classes=2,
        embed_dim=config.width,
        depth=config.depth,
        num_heads=config.heads,
        reg_tokens=config.register_tokens,
        **({} if config.stem == "patch" else {"embed_layer": partial(ConvStem, config.stem == "deep", config.stem_width)}),
        **rates,
    )
    return PalsyViT(config, vit)


class ConvStem(nn.Module):
    """Patch embedding by 3×3 convolutions of stride 2 down to the patch grid, then a 1×1 convolution; timm's interface."""

    def __init__(
        self, twice: bool, first: int | None, img_size: int, patch_size: int, in_chans: int, embed_dim: int, **_ignored: Any
    ) -> None:
        super().__init__()
        halvings = patch_size.bit_length() - 1
        if patch_size != 2**halvings or halvings < 1:
            raise ValueError(
                f"a convolutional stem halves the image, so patches of {patch_size} px are impossible: take 2, 4, 8, …"
            )
        self.patch_size = patch_size
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        first = max(8, embed_dim >> (halvings - 1)) if first is None else first
        widths = [in_chans, *(min(embed_dim, first << i) for i in range(halvings))]
        layers: list[nn.Module] = []
        for index, (narrow, wide) in enumerate(pairwise(widths)):
            layers += _convolution(narrow, wide, stride=2)
            if twice and index > 0:  # at the finest resolution one is enough, and it is slow
                layers += _convolution(wide, wide, stride=1)
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], embed_dim, 1))

    def forward(self, crop_BCHW: Tensor) -> Tensor:
        """Return the tokens (B, N, D) of the grid, row by row."""
        grid_BDHW: Tensor = self.layers(crop_BCHW.contiguous(memory_format=channels_last))  # twice as fast on a CPU
        return grid_BDHW.flatten(2).transpose(1, 2)


def _convolution(narrow: int, wide: int, stride: int) -> list[nn.Module]:
    return [nn.Conv2d(narrow, wide, 3, stride=stride, padding=1, bias=False), nn.BatchNorm2d(wide), nn.ReLU(inplace=True)]


class Normalize(nn.Module):
    """Convert an input in [−1, 1] to the mean and standard deviation that pretrained weights expect.

    Part of the network, so that every caller gives the same input, whatever the weights. Its constants follow from the
    architecture's name and are not saved.
    """

    scale_C11: Tensor
    shift_C11: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        mean_C11, std_C11 = (torch.tensor(values).reshape(-1, 1, 1) for values in (mean, std))
        self.register_buffer("scale_C11", 0.5 / std_C11, persistent=False)
        self.register_buffer("shift_C11", (0.5 - mean_C11) / std_C11, persistent=False)

    def forward(self, crop_BCHW: Tensor) -> Tensor:
        """Return the normalized input."""
        return crop_BCHW * self.scale_C11 + self.shift_C11


class PalsyViT(Recomputing):
    """timm's vision transformer with two classes, split before its last block for Grad-CAM."""

    def __init__(self, config: ViTConfig, vit: VisionTransformer | Eva, normalize: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.input_size = config.input_size
        self.normalize = normalize or nn.Identity()
        self.vit = vit

    def forward(self, crop_BCHW: Tensor) -> Tensor:
        """Return the logits (B, 2), healthy and palsied, of crops float32 in [−1, 1]."""
        return self.tail(self.tokens(crop_BCHW))

    def tokens(self, crop_BCHW: Tensor) -> Tensor:
        """Return the tokens (B, N, D) that enter the last block, class and register tokens first."""
        vit = self.vit
        embedded = vit._pos_embed(vit.patch_embed(self.normalize(crop_BCHW)))  # noqa: SLF001 - timm gives this step no public name
        x = vit.norm_pre(embedded[0] if isinstance(vit, Eva) else vit.patch_drop(embedded))
        for block in vit.blocks[:-1]:
            x = self.stage(block, x, *self.rotary_positions())
        return x

    def tail(self, token_BND: Tensor) -> Tensor:
        """Compute the logits (B, 2) from :meth:`tokens`."""
        logit_B2: Tensor = self.vit.head(self.features(token_BND))
        return logit_B2

    def features(self, token_BND: Tensor) -> Tensor:
        """Compute what the linear head reads (B, D) from :meth:`tokens`."""
        last = self.stage(self.vit.blocks[-1], token_BND, *self.rotary_positions())
        return self.vit.forward_head(self.vit.norm(last), pre_logits=True)

    def rotary_positions(self) -> list[Tensor]:
        """Return the rotary position embedding of the patch grid, or nothing for positions that are added once."""
        if not isinstance(self.vit, Eva) or self.vit.rope is None:
            return []
        return [self.vit.rope.get_embed(shape=self.vit.patch_embed.grid_size)]

    def token_maps(self, token_BND: Tensor) -> Tensor:
        """Return the tokens of the image as maps (B, D, H, W) of the patch grid, without class and register tokens."""
        height, width = self.vit.patch_embed.grid_size
        patch_BND = token_BND[:, self.vit.num_prefix_tokens :]
        return patch_BND.transpose(1, 2).reshape(len(patch_BND), -1, height, width)
