"""LSTM: features of every frame, read in order by a recurrent network.

S. Hochreiter and J. Schmidhuber, *Long short-term memory*, Neural Computation 9(8), 1997. The paper's number for palsies
comes from the comparison in PHCNN's article.

The authors': the recurrent cell. Ours: a ResNet-18 (512 features) of 16 frames at 6 per second, one layer of 128 units, the
mean of its states, two classes; trained as a whole, 112 px, AdamW at 1e-4, fresh weights. Weights may be brought to timm's
``resnet18``.

Axes: B windows, T frames of one, D features, U units.
"""

from typing import Final

from torch import Tensor, nn

from vitau.baselines.fitting import Settings
from vitau.baselines.method import Budget
from vitau.baselines.recognition.clips.items import ClipBatch, ClipMethod
from vitau.baselines.recognition.networks.classifier import build_resnet, narrowed

_UNITS: Final = 128


def lstm() -> ClipMethod:
    """Return the method."""
    return ClipMethod(name="lstm", title="LSTM", image_px=112, build=_build, settings=Settings(lr=1e-4))


class RecurrentReader(nn.Module):
    """One layer of an LSTM over the features of frames; the mean of its states gives two logits."""

    def __init__(self, num_features: int, num_units: int) -> None:
        super().__init__()
        self.recurrent = nn.LSTM(num_features, num_units, batch_first=True)
        self.head = nn.Linear(num_units, 2)

    def forward(self, feature_BTD: Tensor) -> Tensor:
        """Return the logits (B, 2)."""
        state_BTU, _ = self.recurrent(feature_BTD)
        logit_B2: Tensor = self.head(state_BTU.mean(1))
        return logit_B2


class ImageLSTM(nn.Module):
    """An image network whose features of the frames of a window go through a :class:`RecurrentReader`."""

    def __init__(self, images: nn.Module, num_features: int, num_units: int) -> None:
        super().__init__()
        self.images = images
        self.reader = RecurrentReader(num_features, num_units)

    def forward(self, batch: ClipBatch) -> Tensor:
        """Return the logits (B, 2) of windows."""
        feature_FD = self.images(batch.frames.crop_BCHW)
        logit_B2: Tensor = self.reader(feature_FD.unflatten(0, (-1, batch.num_frames)))
        return logit_B2


def _build(budget: Budget, _image_px: int) -> nn.Module:
    images = build_resnet("resnet18", budget.width, num_classes=0)
    return ImageLSTM(images, narrowed((512,), budget.width)[0], narrowed((_UNITS,), budget.width)[0])
