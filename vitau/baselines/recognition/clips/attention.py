"""Clip attention, a control that the paper leaves out: which frames of a clip count is learned, in place of their mean.

M. Ilse, J. Tomczak and M. Welling, *Attention-based deep multiple instance learning*, ICML 2018.

The authors': gated attention, softmax over wᵀ(tanh Vh ⊙ sigmoid Uh) of the instances of a bag, and a linear head on the
weighted mean. Ours: a bag is 16 frames at 6 per second, the instances are the features of :mod:`vitau_vit
<vitau.baselines.recognition.networks.vitau_vit>`, attention has 64 units; trained as a whole with its settings.

Axes: B bags, T frames of one, D features, U units.
"""

from typing import Final

from torch import Tensor, nn

from vitau.baselines.method import Budget
from vitau.baselines.recognition.clips.items import ClipBatch, ClipMethod
from vitau.baselines.recognition.networks.vitau_vit import PATCH, SETTINGS, build
from vitau.models.vit import PalsyViT

_UNITS: Final = 64


def clip_attention() -> ClipMethod:
    """Return the method; a budget's side of the image is rounded down to whole patches."""
    return ClipMethod(
        name="clip-attention", title="Clip attention", image_px=256, build=_build, settings=SETTINGS, multiple_px=PATCH
    )


class GatedAttention(nn.Module):
    """The weights of the instances of a bag; they are positive and sum to 1."""

    def __init__(self, num_features: int, num_units: int) -> None:
        super().__init__()
        self.value = nn.Linear(num_features, num_units)
        self.gate = nn.Linear(num_features, num_units)
        self.weight = nn.Linear(num_units, 1)

    def forward(self, feature_BTD: Tensor) -> Tensor:
        """Return the weights (B, T)."""
        unit_BTU = self.value(feature_BTD).tanh() * self.gate(feature_BTD).sigmoid()
        weight_BT1: Tensor = self.weight(unit_BTU)
        return weight_BT1[..., 0].softmax(1)


class AttendedClip(nn.Module):
    """A transformer whose features of the frames of a window are averaged with the weights of :class:`GatedAttention`."""

    def __init__(self, images: PalsyViT) -> None:
        super().__init__()
        self.images = images
        self.attention = GatedAttention(images.vit.embed_dim, _UNITS)

    def forward(self, batch: ClipBatch) -> Tensor:
        """Return the logits (B, 2) of windows."""
        feature_FD = self.images.features(self.images.tokens(batch.frames.crop_BCHW))
        feature_BTD = feature_FD.reshape(-1, batch.num_frames, feature_FD.shape[1])
        mean_BD = (self.attention(feature_BTD)[..., None] * feature_BTD).sum(1)
        logit_B2: Tensor = self.images.vit.head(mean_BD)
        return logit_B2


def _build(budget: Budget, image_px: int) -> nn.Module:
    return AttendedClip(build(budget, image_px))
