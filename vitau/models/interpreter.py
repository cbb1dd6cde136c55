"""The pyramid interpreter (FG-Net, Yin et al., WACV 2024): from the generator's activations to heatmaps."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional

from vitau.models.recompute import Recomputing

# B image, C channel, A heatmap, H row, W column


def resize(x_BCHW: Tensor, side: int) -> Tensor:
    """Resize maps bilinearly, corner on corner, as the public checkpoints were trained."""
    return functional.interpolate(x_BCHW, size=(side, side), mode="bilinear", align_corners=True)


class Interpreter(Recomputing):
    """Pyramid of blocks that adds the feature maps up from coarse to fine; the last block outputs the heatmaps.

    Args:
        channels: channels of the feature maps, coarse first.
        resolutions: sides of the feature maps, px, each twice the one before.
        size: side of the heatmaps, px.
        num_outputs: number of heatmaps.
        dropout: share of activations dropped in every block.
    """

    def __init__(
        self,
        channels: Sequence[int],
        resolutions: Sequence[int],
        *,
        size: int = 128,
        num_outputs: int = 8,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.size = size
        for i, (width, resolution) in enumerate(zip(channels, resolutions, strict=True)):
            is_last = i == len(channels) - 1
            out = width if is_last else channels[i + 1]
            kernel = 3 if i == 0 else 5
            block: list[nn.Module] = []
            if resolution < size:
                block.append(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True))
            block += [nn.Conv2d(width, out, kernel, padding=kernel // 2), nn.ReLU(), nn.Dropout(dropout), nn.BatchNorm2d(out)]
            if is_last:
                self.split = len(block) - 2  # after the convolution's activation
                block.append(nn.Conv2d(out, num_outputs, 5, padding=2))
            self.add_module(f"layer{i}", nn.Sequential(*block))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the heatmaps (B, A, size, size) of feature maps given coarse first."""
        return self.tail(self.before_output(features))

    def before_output(self, features: Sequence[Tensor]) -> Tensor:
        """Return the activation of the last convolution before the heatmaps (B, C, H, W), after its ReLU."""
        *blocks, last = self.blocks()
        lowest, *higher = [resize(x, self.size) if x.shape[-1] > self.size else x for x in features]
        x = lowest
        for block, feature in zip(blocks, higher, strict=True):
            x = self.stage(block, x) + feature
        return self.stage(last[: self.split], x)

    def tail(self, x_BCHW: Tensor) -> Tensor:
        """Compute the heatmaps from :meth:`before_output`."""
        *_, last = self.blocks()
        heatmaps = self.stage(last[self.split :], x_BCHW)
        return heatmaps if heatmaps.shape[-1] == self.size else resize(heatmaps, self.size)

    def blocks(self) -> list[nn.Sequential]:
        """Return the blocks in order; as attributes they are named ``layer0``, ``layer1``, … like the public checkpoint's."""
        return [block for block in self.children() if isinstance(block, nn.Sequential)]
