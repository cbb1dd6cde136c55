"""PHCNN-LSTM-style: the features of :mod:`vitau.baselines.recognition.clips.phcnn` over 16 frames, read by an LSTM.

X. Liu, Y. F. Xia, H. Yu and others, *Region based parallel hierarchy convolutional neural network for automatic facial nerve
paralysis evaluation*, IEEE Trans Neural Syst Rehabil Eng 28(10), 2020.

The authors': a recurrent network on the features of their parallel networks. Ours: 16 frames at 6 per second, 128 units, the
mean of the states, two classes; trained as a whole with AdamW at 1e-4, fresh weights.
"""

from typing import Final

from torch import Tensor, nn

from vitau.baselines.fitting import Settings
from vitau.baselines.method import Budget
from vitau.baselines.recognition.clips.items import ClipBatch, ClipMethod
from vitau.baselines.recognition.clips.lstm import RecurrentReader
from vitau.baselines.recognition.clips.phcnn import PartFeatures, build_features
from vitau.baselines.recognition.networks.classifier import narrowed

_UNITS: Final = 128


def phcnn_lstm() -> ClipMethod:
    """Return the method."""
    return ClipMethod(name="phcnn-lstm", title="PHCNN-LSTM-style", image_px=256, build=_build, settings=Settings(lr=1e-4))


class PartLSTM(nn.Module):
    """The features of the parts of each frame of a window, through a :class:`RecurrentReader`."""

    def __init__(self, features: PartFeatures, num_units: int) -> None:
        super().__init__()
        self.features = features
        self.reader = RecurrentReader(features.num_features, num_units)

    def forward(self, batch: ClipBatch) -> Tensor:
        """Return the logits (B, 2) of windows."""
        logit_B2: Tensor = self.reader(self.features(batch.frames).unflatten(0, (-1, batch.num_frames)))
        return logit_B2


def _build(budget: Budget, image_px: int) -> nn.Module:
    return PartLSTM(build_features(budget, image_px), narrowed((_UNITS,), budget.width)[0])
