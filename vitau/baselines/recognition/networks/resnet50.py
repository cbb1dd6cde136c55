"""ResNet-50, a control that the paper leaves out.

K. He, X. Zhang, S. Ren, J. Sun, *Deep residual learning for image recognition*, CVPR 2016.

The authors': the network. Ours: two classes on 224 px, fresh weights, AdamW at 1e-4, and ``width`` for small budgets. Weights
may be brought to timm's ``resnet50``.
"""

from vitau.baselines.fitting import FrameMethod, Settings
from vitau.baselines.recognition.networks.classifier import build_resnet, palsy_loss, palsy_score


def resnet50() -> FrameMethod:
    """Return the method."""
    return FrameMethod(
        name="resnet50",
        title="ResNet-50",
        task="palsy",
        image_px=224,
        build=lambda budget, _image_px: build_resnet("resnet50", budget.width, num_classes=2),
        objective=palsy_loss,
        read=palsy_score,
        settings=Settings(lr=1e-4),
    )
