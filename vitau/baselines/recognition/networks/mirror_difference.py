"""Mirror difference, a control that the paper leaves out: what a network finds in a face and not in its mirror image.

No article. Ours: one ResNet-18 with a linear head sees the face and its mirror image, and the second output is subtracted from
the first, as if the head saw the difference of the codes. The result is odd by construction: a symmetric trait of a person's
look cannot be in it, and its sign is the side. The log-odds of a palsy rise with its amount. The loss adds the side, where one
side alone is affected. Fresh weights, AdamW at 1e-4.

Axes: B images, C channels, H, W px.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitau.baselines.fitting import FrameMethod, Settings
from vitau.baselines.recognition.networks.classifier import build_resnet
from vitau.training.tasks import Batch


def mirror_difference() -> FrameMethod:
    """Return the method."""
    return FrameMethod(
        name="mirror-difference",
        title="Mirror difference",
        task="palsy",
        image_px=224,
        build=lambda budget, _image_px: MirrorDifference(build_resnet("resnet18", budget.width, num_classes=1)),
        objective=palsy_and_side_loss,
        read=lambda network, batch: network(batch.crop_BCHW)[1].sigmoid(),
        settings=Settings(lr=1e-4),
    )


class MirrorDifference(nn.Module):
    """An odd function of an image, and the log-odds of a palsy that rise with its amount.

    Args:
        network: (B, C, H, W) → (B, 1). Its difference between a face and the mirror image is the odd function.
    """

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self.gain = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(()))

    def forward(self, crop_BCHW: Tensor) -> tuple[Tensor, Tensor]:
        """Return the log-odds (B,) that the right side is the weak one, and those of a palsy (B,).

        The first change their sign in the mirror image, the second do not change.
        """
        # both in one batch: batch normalization must treat a face and its mirror image alike
        own_B1, mirrored_B1 = self.network(torch.cat([crop_BCHW, crop_BCHW.flip(3)])).chunk(2)
        odd_B = (own_B1 - mirrored_B1)[:, 0]
        return odd_B, functional.softplus(self.gain) * odd_B.abs() + self.bias


def palsy_and_side_loss(network: nn.Module, batch: Batch) -> Tensor:
    """Compute the cross-entropy of the palsy, and of the side of people with one affected side; a scalar."""
    odd_B, palsy_B = network(batch.crop_BCHW)
    loss = functional.binary_cross_entropy_with_logits(palsy_B, batch.palsied_B.float())
    right_B, left_B = batch.sided_BA2.any(1).unbind(1)
    one_sided_B = right_B ^ left_B
    if one_sided_B.any():
        loss = loss + functional.binary_cross_entropy_with_logits(odd_B[one_sided_B], right_B[one_sided_B].float())
    return loss
