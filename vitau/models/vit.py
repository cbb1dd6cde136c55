"""The recognition model: a vision transformer that classifies a face as healthy or palsied.

The paper writes the MLP with ReLU. timm's has GELU, which pretrained weights need. Only architectures of timm's import timm,
which takes as much processor time as torch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, channels_last, nn
from torch.nn import functional

from vitau.models.recompute import Recomputing

if TYPE_CHECKING:
    from timm.models.eva import Eva
    from timm.models.vision_transformer import VisionTransformer

# B image, C channel, H row, W column, N token (class and register tokens first), D width, K head


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
    if config.name is not None:
        return _build_named(config, config.name)
    if config.input_size % config.patch_size:
        raise ValueError(f"patches of {config.patch_size} px do not tile an input of {config.input_size} px: choose a divisor")
    return PalsyViT(config, Transformer(config))


def _build_named(config: ViTConfig, name: str) -> "PalsyViT":
    import timm
    from timm.models import is_model_in_modules

    if not is_model_in_modules(name.partition(".")[0], ["vision_transformer", "eva"]):
        known = "take one of timm.list_models(module='vision_transformer') or (module='eva')"
        raise ValueError(f"timm has no vision transformer named {name!r}: {known}")
    rates = {"drop_rate": config.dropout, "pos_drop_rate": config.dropout, "proj_drop_rate": config.dropout}
    try:
        named = timm.create_model(name, pretrained=False, img_size=config.input_size, num_classes=2, **rates)
    except RuntimeError as unknown:  # timm's word for a tag that the architecture does not have
        raise ValueError(f"timm has no weights named {name!r}: leave out what follows the dot") from unknown
    if getattr(named, "rope_mixed", False):
        raise ValueError(f"{name} has rotary positions per block, which are not supported: take vit_base_patch16_dinov3")
    return PalsyViT(config, named, Normalize(named.pretrained_cfg["mean"], named.pretrained_cfg["std"]))


class Transformer(nn.Module):
    """Vision transformer with class and register tokens (Dosovitskiy et al., ICLR 2021).

    Names of tensors, initialization and results are those of timm's ``VisionTransformer`` of the same size.
    """

    def __init__(self, config: ViTConfig, num_classes: int = 2) -> None:
        super().__init__()
        width = self.embed_dim = config.width
        if width % config.heads:
            raise ValueError(f"{config.heads} heads do not divide a width of {width}: choose a divisor")
        self.num_prefix_tokens = 1 + config.register_tokens
        stem = Patches if config.stem == "patch" else partial(ConvStem, config.stem == "deep", config.stem_width)
        self.patch_embed = stem(config.input_size, config.patch_size, 3, width)
        self.cls_token = nn.Parameter(torch.empty(1, 1, width))
        self.reg_token = nn.Parameter(torch.empty(1, config.register_tokens, width)) if config.register_tokens else None
        self.pos_embed = nn.Parameter(torch.empty(1, self.patch_embed.num_patches + self.num_prefix_tokens, width))
        self.pos_drop = nn.Dropout(config.dropout)
        self.blocks = nn.Sequential(*(Block(width, config.heads, config.dropout) for _ in range(config.depth)))
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.head_drop = nn.Dropout(config.dropout)
        self.head = nn.Linear(width, num_classes)
        self._initialize()

    @torch.no_grad()
    def _initialize(self) -> None:
        """Draw the parameters by timm's formulas: those of ``torch.nn.init`` give other values, and load torch's compiler."""
        if self.pos_embed.is_meta:
            return
        _draw(self.pos_embed)
        for token in (self.cls_token, self.reg_token):
            if token is not None:
                token.normal_(std=1e-6)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                _draw(module.weight)
                module.bias.zero_()

    def embed(self, crop_BCHW: Tensor) -> Tensor:
        """Return the tokens (B, N, D) of crops, with their positions."""
        first = [token for token in (self.cls_token, self.reg_token) if token is not None]
        tokens = [*(token.expand(crop_BCHW.shape[0], -1, -1) for token in first), self.patch_embed(crop_BCHW)]
        embedded: Tensor = self.pos_drop(torch.cat(tokens, dim=1) + self.pos_embed)
        return embedded

    def forward_head(self, token_BND: Tensor, *, pre_logits: bool = False) -> Tensor:
        """Compute the logits from the class token, or with ``pre_logits`` what the linear layer reads."""
        class_BD: Tensor = self.head_drop(token_BND[:, 0])
        return class_BD if pre_logits else self.head(class_BD)


def _draw(parameter: Tensor, std: float = 0.02) -> None:
    parameter.uniform_(-1, 1).erfinv_().mul_(std * math.sqrt(2)).clamp_(-2, 2)


class Block(nn.Module):
    """Attention and an MLP, each added to its normalized input."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, heads, dropout)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.mlp = Mlp(width, 4 * width, dropout)

    def forward(self, token_BND: Tensor) -> Tensor:
        """Return the tokens of the next block."""
        token_BND = token_BND + self.attn(self.norm1(token_BND))
        attended: Tensor = token_BND + self.mlp(self.norm2(token_BND))
        return attended


class Attention(nn.Module):
    """Self-attention with several heads, by torch's fused kernel."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.proj_drop = nn.Dropout(dropout)

    def forward(self, token_BND: Tensor) -> Tensor:
        """Return the attended tokens."""
        images, tokens, width = token_BND.shape
        qkv_3BKND = self.qkv(token_BND).reshape(images, tokens, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        mixed_BKND = functional.scaled_dot_product_attention(*qkv_3BKND.unbind(0))
        attended: Tensor = self.proj_drop(self.proj(mixed_BKND.transpose(1, 2).reshape(images, tokens, width)))
        return attended


class Mlp(nn.Module):
    """Two linear layers with GELU between them."""

    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.drop1 = nn.Dropout(dropout)
        self.fc2 = nn.Linear(hidden, width)
        self.drop2 = nn.Dropout(dropout)

    def forward(self, token_BND: Tensor) -> Tensor:
        """Return the changed tokens."""
        changed: Tensor = self.drop2(self.fc2(self.drop1(functional.gelu(self.fc1(token_BND)))))
        return changed


class Patches(nn.Module):
    """Patch embedding by one convolution of the patch's size."""

    def __init__(self, img_size: int, patch_size: int, in_chans: int, embed_dim: int) -> None:
        super().__init__()
        self.grid_size = (img_size // patch_size, img_size // patch_size)
        self.num_patches = self.grid_size[0] * self.grid_size[1]
        self.proj = nn.Conv2d(in_chans, embed_dim, patch_size, patch_size)

    def forward(self, crop_BCHW: Tensor) -> Tensor:
        """Return the tokens (B, N, D) of the grid, row by row."""
        grid_BDHW: Tensor = self.proj(crop_BCHW)
        return grid_BDHW.flatten(2).transpose(1, 2)


class ConvStem(nn.Module):
    """Patch embedding by 3×3 convolutions of stride 2 down to the patch grid, then a 1×1 convolution."""

    def __init__(self, twice: bool, first: int | None, img_size: int, patch_size: int, in_chans: int, embed_dim: int) -> None:
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
    """Vision transformer with two classes, split before its last block for Grad-CAM."""

    def __init__(
        self, config: ViTConfig, vit: "Transformer | VisionTransformer | Eva", normalize: nn.Module | None = None
    ) -> None:
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
        x = _embed(self.vit, self.normalize(crop_BCHW))
        for block in self.vit.blocks[:-1]:
            x = self.stage(block, x, *self.rotary_positions())
        return x

    def tail(self, token_BND: Tensor) -> Tensor:
        """Compute the logits (B, 2) from :meth:`tokens`."""
        logit_B2: Tensor = self.vit.head(self.features(token_BND))
        return logit_B2

    def features(self, token_BND: Tensor) -> Tensor:
        """Compute what the linear head reads (B, D) from :meth:`tokens`."""
        return self.vit.forward_head(self.final_tokens(token_BND), pre_logits=True)

    def final_tokens(self, token_BND: Tensor) -> Tensor:
        """Return the normalized tokens after the last block, from :meth:`tokens`."""
        last = self.stage(self.vit.blocks[-1], token_BND, *self.rotary_positions())
        return self.vit.norm(last)

    def rotary_positions(self) -> list[Tensor]:
        """Return the rotary position embedding of the patch grid, or nothing for positions that are added once."""
        rope = getattr(self.vit, "rope", None)
        return [] if rope is None else [rope.get_embed(shape=self.vit.patch_embed.grid_size)]

    def token_maps(self, token_BND: Tensor) -> Tensor:
        """Return the tokens of the image as maps (B, D, H, W) of the patch grid, without class and register tokens."""
        height, width = self.vit.patch_embed.grid_size
        patch_BND = token_BND[:, self.vit.num_prefix_tokens :]
        return patch_BND.transpose(1, 2).reshape(len(patch_BND), -1, height, width)


def _embed(vit: "Transformer | VisionTransformer | Eva", crop_BCHW: Tensor) -> Tensor:
    if isinstance(vit, Transformer):
        return vit.embed(crop_BCHW)
    embedded = vit._pos_embed(vit.patch_embed(crop_BCHW))  # noqa: SLF001 - timm gives this step no public name
    tokens: Tensor = vit.norm_pre(embedded[0] if isinstance(embedded, tuple) else vit.patch_drop(embedded))  # tuple: Eva's
    return tokens
