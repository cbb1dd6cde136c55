"""SENet: a residual network with squeeze-and-excitation blocks.

J. Hu, L. Shen, S. Albanie and others, *Squeeze-and-excitation networks*, IEEE Trans Pattern Anal Mach Intell 42(8), 2020. The
paper's number comes from the comparison in PHCNN's article.

The authors': squeeze-and-excitation blocks in a ResNet-50. Ours: timm's ``seresnet50`` with two classes on 224 px, fresh
weights, AdamW at 1e-4, and ``width`` for small budgets. Weights may be brought to ``seresnet50``.
"""

from vitau.baselines.fitting import FrameMethod, Settings
from vitau.baselines.recognition.networks.classifier import build_resnet, palsy_loss, palsy_score


def senet() -> FrameMethod:
    """Return the method."""
    return FrameMethod(
        name="senet",
        title="SENet",
        task="palsy",
        image_px=224,
        build=lambda budget, _image_px: build_resnet("seresnet50", budget.width, num_classes=2),
        objective=palsy_loss,
        read=palsy_score,
        settings=Settings(lr=1e-4),
    )
