"""The explanations of recognition by name: what is drawn for a person is what was evaluated."""

from collections.abc import Callable, Mapping
from typing import Final

from torch import Tensor
from torch.nn import functional

from vitau.evaluation.explanations.results import GRADCAM, MIRROR_OCCLUSION
from vitau.models.vit import PalsyViT
from vitau.scoring.explanations.mirror import mirror_occlusion
from vitau.scoring.gradcam import cam

# B image, H row, W column

Explain = Callable[[PalsyViT, Tensor], Tensor]
"""From a model and its input to maps (B, h, w), at least 0, of any resolution: where a face is palsied to the model."""
PALSIED: Final = 1

EXPLAIN: Final[Mapping[str, Explain]] = {
    MIRROR_OCCLUSION: mirror_occlusion,
    GRADCAM: lambda model, crop_BCHW: cam(model, crop_BCHW, [PALSIED])[:, 0],
}


def resized(map_BHW: Tensor, size: int) -> Tensor:
    """Resize maps to (B, size, size), bilinearly."""
    return functional.interpolate(map_BHW[:, None], size=(size, size), mode="bilinear", align_corners=False)[:, 0]
