"""VGG16 with a softmax over two classes.

A. N. Khalifa, H. R. Ali, S. Abdulazeez Jebur and others, *Automate facial paralysis detection using VGG architectures*, Int J
Curr Innov Adv Res, 2024.

The authors': VGG16 from ImageNet's weights, on 2 000 images. Ours: 224 px, batch normalization, fresh weights, AdamW at 1e-4,
and ``width`` for small budgets. Weights may be brought to timm's ``vgg16_bn``.
"""

from typing import Final

from timm.models.vgg import VGG
from torch import nn

from vitau.baselines.fitting import FrameMethod, Settings
from vitau.baselines.method import Budget
from vitau.baselines.recognition.networks.classifier import narrowed, palsy_loss, palsy_score

_LAYERS: Final = (64, 64, "M", 128, 128, "M", 256, 256, 256, "M", 512, 512, 512, "M", 512, 512, 512, "M")
"""Channels of the convolutions of configuration D; ``M`` is a maximum over 2×2 px."""


def vgg16() -> FrameMethod:
    """Return the method."""
    return FrameMethod(
        name="vgg16",
        title="VGG16+Softmax",
        task="palsy",
        image_px=224,
        build=build_vgg16,
        objective=palsy_loss,
        read=palsy_score,
        settings=Settings(lr=1e-4),
    )


def build_vgg16(budget: Budget, _image_px: int = 224) -> nn.Module:
    """Build the network with fresh weights; at width 1 it has the layers of timm's ``vgg16_bn``."""
    layers = [layer if isinstance(layer, str) else narrowed((layer,), budget.width)[0] for layer in _LAYERS]
    network: nn.Module = VGG(layers, num_classes=2, mlp_ratio=budget.width, norm_layer=nn.BatchNorm2d)
    return network
