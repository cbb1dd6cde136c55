"""DHN-style: palsied parts of the face are detected, and a face with such a part is palsied.

G. S. J. Hsu, J. H. Kang, W. F. Huang, *Deep hierarchical network with line segment learning for quantitative analysis of
facial palsy*, IEEE Access 7, 2019.

The authors': palsied parts at the eyes and at the mouth are detected from color together with line segments. Ours: Sobel's
edges as a fourth channel in place of learned line segments; a ResNet-18; the presence of the two parts in place of their
boxes; palsy is the larger of the two. A palsied person whose regions have no labels trains the larger of the two. Fresh
weights, AdamW at 1e-4; weights may be brought to timm's ``resnet18``.

Axes: B images, C channels, H, W px; P parts (eyes, mouth); A regions.
"""

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitau.baselines.fitting import FrameMethod, Settings
from vitau.baselines.recognition.networks.classifier import build_resnet
from vitau.schema import AU, AUS
from vitau.training.tasks import Batch

PARTS: Final = ((AU.AU1, AU.AU2, AU.AU4, AU.AU6), (AU.AU9, AU.AU12, AU.AU25, AU.AU26))
"""Regions of the eyes and of the mouth."""
_LUMA: Final = (0.299, 0.587, 0.114)


def dhn() -> FrameMethod:
    """Return the method."""
    return FrameMethod(
        name="dhn",
        title="DHN-style",
        task="palsy",
        image_px=224,
        build=lambda budget, _image_px: build_resnet("resnet18", budget.width, num_classes=len(PARTS), in_chans=4),
        objective=part_loss,
        read=lambda network, batch: network(with_edges(batch.crop_BCHW)).sigmoid().amax(1),
        settings=Settings(lr=1e-4),
    )


def with_edges(crop_BCHW: Tensor) -> Tensor:
    """Append the length of Sobel's gradient of the luma as a fourth channel; a step from −1 to 1 has the length 2."""
    luma_B1HW = (crop_BCHW * crop_BCHW.new_tensor(_LUMA)[:, None, None]).sum(1, keepdim=True)
    across = crop_BCHW.new_tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 4
    kernel_2133 = torch.stack([across, across.T])[:, None]
    gradient_B2HW = functional.conv2d(functional.pad(luma_B1HW, (1, 1, 1, 1), mode="replicate"), kernel_2133)
    return torch.cat([crop_BCHW, gradient_B2HW.square().sum(1, keepdim=True).add(1e-12).sqrt()], 1)


def part_truth(batch: Batch) -> tuple[Tensor, Tensor]:
    """Return which parts are palsied and which of them are known, both bool (B, 2).

    A control's parts are known to be healthy. A palsied person's part is palsied if a labeled region of it is affected, and
    healthy if all its regions are labeled and none is.
    """
    columns = [[AUS.index(au) for au in part] for part in PARTS]
    affected_BA, known_BA = batch.affected_BA & batch.known_BA, batch.known_BA
    palsied_BP = torch.stack([affected_BA[:, part].any(1) for part in columns], 1) & batch.palsied_B[:, None]
    complete_BP = torch.stack([known_BA[:, part].all(1) for part in columns], 1)
    return palsied_BP, palsied_BP | complete_BP | ~batch.palsied_B[:, None]


def part_loss(network: nn.Module, batch: Batch) -> Tensor:
    """Compute the binary cross-entropy of the known parts, and of the larger part of people without a known one; a scalar."""
    logit_BP = network(with_edges(batch.crop_BCHW))
    palsied_BP, known_BP = part_truth(batch)
    error_BP = functional.binary_cross_entropy_with_logits(logit_BP, palsied_BP.float(), reduction="none")
    whole_B = functional.binary_cross_entropy_with_logits(logit_BP.amax(1), batch.palsied_B.float(), reduction="none")
    alone_B = ~known_BP.any(1)
    return ((error_BP * known_BP).sum() + (whole_B * alone_B).sum()) / (known_BP.sum() + alone_B.sum())
