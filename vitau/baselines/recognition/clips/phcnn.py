"""PHCNN-style: both eyes and both halves of the mouth go through one network, and the two sides are compared.

X. Liu, Y. F. Xia, H. Yu and others, *Region based parallel hierarchy convolutional neural network for automatic facial nerve
paralysis evaluation*, IEEE Trans Neural Syst Rehabil Eng 28(10), 2020.

The authors': parallel networks on regions of the face, whose features meet in a hierarchy. Ours: four parts of a quarter of the
image, 64 px; one shared network of four convolutions (32, 64, 128, 128 channels) with batch normalization; right, left and
absolute difference of the features, a hidden layer of 256, two classes; AdamW at 1e-4, fresh weights.
"""

from typing import Final

from torch import Tensor, nn
from torch.nn import functional

from vitau.baselines.fitting import FrameMethod, Settings
from vitau.baselines.method import Budget
from vitau.baselines.recognition.clips.parts import PartEncoder
from vitau.baselines.recognition.networks.classifier import narrowed
from vitau.training.tasks import Batch

CHANNELS: Final = (32, 64, 128, 128)
HIDDEN: Final = 256
_FEWEST_PX: Final = 16


def phcnn() -> FrameMethod:
    """Return the method."""
    return FrameMethod(
        name="phcnn",
        title="PHCNN-style",
        task="palsy",
        image_px=256,
        build=_build,
        objective=lambda network, batch: functional.cross_entropy(network(batch), batch.palsied_B.long()),
        read=lambda network, batch: network(batch).softmax(1)[:, 1],
        settings=Settings(lr=1e-4),
    )


def build_features(budget: Budget, image_px: int) -> "PartFeatures":
    """Build the network up to its hidden layer; the parts have a quarter of the image's side, at least 16 px."""
    channels = narrowed(CHANNELS, budget.width)
    return PartFeatures(PartEncoder(max(_FEWEST_PX, image_px // 4), channels), narrowed((HIDDEN,), budget.width)[0])


class PartFeatures(nn.Module):
    """The encoder of the parts and a hidden layer; a call returns (B, D) for a batch of frames."""

    def __init__(self, encoder: PartEncoder, num_hidden: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.hidden = nn.Sequential(nn.Linear(encoder.num_features, num_hidden), nn.ReLU())
        self.num_features = num_hidden

    def forward(self, batch: Batch) -> Tensor:
        """Return the hidden features of faces."""
        feature_BD: Tensor = self.hidden(self.encoder(batch.crop_BCHW, batch.landmarks_BL2))
        return feature_BD


def _build(budget: Budget, image_px: int) -> nn.Module:
    features = build_features(budget, image_px)
    return nn.Sequential(features, nn.Dropout(0.1), nn.Linear(features.num_features, 2))
