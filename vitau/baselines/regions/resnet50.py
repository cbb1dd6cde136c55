"""Multi-label ResNet-50: a control without any knowledge of regions.

Network: He, Zhang, Ren, Sun, *Deep Residual Learning for Image Recognition*, CVPR 2016, in timm's implementation. Ours: eight
outputs with a sigmoid each, binary cross-entropy, 224 px, AdamW. Weights are fresh; those of ImageNet may be brought.
"""

from typing import Final

from torch import Tensor, nn

from vitau.baselines.fitting import FrameMethod, Settings
from vitau.baselines.recognition.networks.classifier import build_resnet
from vitau.baselines.regions.losses import bce
from vitau.schema import AUS
from vitau.training.tasks import Batch

SETTINGS: Final = Settings()


def resnet50(backbone: str = "resnet50", settings: Settings = SETTINGS) -> FrameMethod:
    """Build the method.

    Args:
        backbone: timm's name of the network.
        settings: of the optimizer.
    """
    return FrameMethod(
        name="resnet50",
        title="ResNet-50, multi-label",
        task="regions",
        image_px=224,
        build=lambda budget, _image_px: build_resnet(backbone, budget.width, num_classes=len(AUS)),
        objective=_objective,
        read=_read,
        settings=settings,
    )


def _objective(network: nn.Module, batch: Batch) -> Tensor:
    return bce(network(batch.crop_BCHW), batch.affected_BA, batch.known_BA)


def _read(network: nn.Module, batch: Batch) -> Tensor:
    logit_BA: Tensor = network(batch.crop_BCHW)
    return logit_BA.sigmoid()
