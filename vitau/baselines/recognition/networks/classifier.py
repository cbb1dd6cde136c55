"""Shared parts of networks with two classes: loss, score, and narrower versions of library networks.

Axes: B images, C channels, H, W px; class 0 is healthy, class 1 palsied.
"""

from typing import Any, Final

import timm
from torch import Tensor, nn
from torch.nn import functional

from vitau.training.tasks import Batch

_STAGE_CHANNELS: Final = (64, 128, 256, 512)


def palsy_loss(network: nn.Module, batch: Batch) -> Tensor:
    """Compute the cross-entropy of a network's two logits; a scalar."""
    return functional.cross_entropy(network(batch.crop_BCHW), batch.palsied_B.long())


def palsy_score(network: nn.Module, batch: Batch) -> Tensor:
    """Compute the probability (B,) of a palsy from a network's two logits."""
    probability_B2: Tensor = network(batch.crop_BCHW).softmax(1)
    return probability_B2[:, 1]


def build_resnet(name: str, width: float, **options: Any) -> nn.Module:
    """Build one of timm's residual networks with fresh weights.

    Args:
        name: such as ``resnet18`` or ``seresnet50``.
        width: factor of the channels of its four stages; 1 gives timm's own network.
        options: of timm, such as ``num_classes`` and ``in_chans``.
    """
    network: nn.Module = timm.create_model(name, pretrained=False, channels=narrowed(_STAGE_CHANNELS, width), **options)
    return network


def narrowed(channels: tuple[int, ...], width: float) -> tuple[int, ...]:
    """Return numbers of channels times a factor, as multiples of 8."""
    return tuple(max(8, round(count * width / 8) * 8) for count in channels)
