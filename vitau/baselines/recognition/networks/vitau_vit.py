"""ViTAU's own recognition, behind the interface of the comparison methods.

Gao, Cai, Zhao, Duan, *ViTAU: Facial paralysis recognition and analysis based on vision transformer and facial action units*,
Chinese Journal of Engineering 47(2), 2025.

The authors': a vision transformer with a class token and two classes; AdamW at 5e-5, weight decay 5e-4, gradient norm 0.1,
dropout 0.1. Ours: GELU, 256 px, the common budget, fresh weights. A budget with a width below 1 gets a smaller transformer
behind a convolutional stem, as the recipes ``tiny-palsy`` and ``small-palsy`` have. Their pretraining on drawn people is not
part of this row. Weights may be brought to timm's ``vit_base_patch16_224``.
"""

from typing import Final

from vitau.baselines.fitting import FrameMethod, Settings
from vitau.baselines.method import Budget
from vitau.baselines.recognition.networks.classifier import palsy_loss, palsy_score
from vitau.models.vit import PalsyViT, ViTConfig, build_vit

PATCH: Final = 16
SETTINGS: Final = Settings(lr=5e-5, weight_decay=5e-4, grad_clip=0.1)
_HEADS: Final = 12
_HEAD_WIDTH: Final = 64


def vitau() -> FrameMethod:
    """Return the method; a budget's side of the image is rounded down to whole patches of 16 px."""
    return FrameMethod(
        name="vitau",
        title="ViTAU",
        task="palsy",
        image_px=256,
        multiple_px=PATCH,
        build=build,
        objective=palsy_loss,
        read=palsy_score,
        settings=SETTINGS,
    )


def config_of(budget: Budget, image_px: int) -> ViTConfig:
    """Return the architecture for a budget: ViT-B/16 at width 1, else fewer heads of the same size."""
    if budget.width == 1:
        return ViTConfig(name="vit_base_patch16_224", input_size=image_px)
    heads = max(1, round(_HEADS * budget.width))
    return ViTConfig(input_size=image_px, patch_size=PATCH, width=_HEAD_WIDTH * heads, heads=heads, depth=heads, stem="deep")


def build(budget: Budget, image_px: int) -> PalsyViT:
    """Build the network with fresh weights."""
    return build_vit(config_of(budget, image_px))
