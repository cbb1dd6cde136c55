"""pSp's encoder (Richardson et al., CVPR 2021): IR-SE units, a feature pyramid, one head per style; public names."""

import math
from dataclasses import dataclass
from typing import Self

from torch import Tensor, channels_last, nn, stack
from torch.nn import functional

from vitau.models.generator import EqualLinear
from vitau.models.recompute import Recomputing

# B image, C channel, H row, W column, S style, D style width

COARSE, MIDDLE = 3, 7
"""Styles below the first number read the coarsest map, those below the second the middle one, the others the finest."""


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Architecture of an encoder. The defaults are the public one: IR-SE-50 on 256 px, 18 styles for a generator of 1024 px."""

    input_size: int = 256
    units: tuple[int, int, int, int] = (3, 4, 14, 3)
    widths: tuple[int, int, int, int] = (64, 128, 256, 512)
    style_dim: int = 512
    num_styles: int = 18

    def __post_init__(self) -> None:
        if self.input_size % 16:
            raise ValueError(
                f"the encoder halves its input four times and {self.input_size} px do not: choose a multiple of 16"
            )


class SqueezeExcite(nn.Module):
    """Squeeze and excitation: scales each channel by a gate computed from the means of all (Hu et al., CVPR 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(4, channels // 16)
        self.fc1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.fc2 = nn.Conv2d(hidden, channels, 1, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the scaled maps."""
        gate = self.fc2(functional.relu(self.fc1(x_BCHW.mean((2, 3), keepdim=True))))
        return x_BCHW * gate.sigmoid()


class Stride(nn.Module):
    """Subsampling by a stride: equal to max pooling over one pixel."""

    def __init__(self, stride: int) -> None:
        super().__init__()
        self.stride = stride

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the subsampled maps."""
        return x_BCHW[:, :, :: self.stride, :: self.stride]


class ThinnedConv(nn.Conv2d):
    """A 1×1 convolution with a stride and without bias: subsampled first, then convolved, with the same result.

    oneDNN's own strided 1×1 convolution corrupts memory in its backward pass on channels-last maps (torch 2.14.1).
    """

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__(width, out, 1, bias=False)
        self.thin = Stride(stride)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the convolved maps."""
        return super().forward(self.thin(x_BCHW))


class Unit(nn.Module):
    """One residual unit: normalize, convolve, PReLU, convolve with the stride, normalize, squeeze and excite."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.shortcut_layer = (
            Stride(stride) if width == out else nn.Sequential(ThinnedConv(width, out, stride), nn.BatchNorm2d(out))
        )
        self.res_layer = nn.Sequential(
            nn.BatchNorm2d(width),
            nn.Conv2d(width, out, 3, 1, 1, bias=False),
            nn.PReLU(out),
            nn.Conv2d(out, out, 3, stride, 1, bias=False),
            nn.BatchNorm2d(out),
            SqueezeExcite(out),
        )

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the unit's maps."""
        x: Tensor = self.res_layer(x_BCHW) + self.shortcut_layer(x_BCHW)
        return x


class StyleHead(nn.Module):
    """Convolutions of stride 2 down to one pixel, then a linear layer: one style vector."""

    def __init__(self, width: int, style_dim: int, side: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i in range(max(1, math.ceil(math.log2(side)))):
            layers += [nn.Conv2d(style_dim if i else width, style_dim, 3, 2, 1), nn.LeakyReLU(0.01)]
        self.convs = nn.Sequential(*layers)
        self.linear = EqualLinear(style_dim, style_dim)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Return the style (B, D)."""
        style: Tensor = self.linear(self.convs(x_BCHW).flatten(1))
        return style


class Encoder(Recomputing):
    """Encoder of a face to one style per layer of the generator, without the average latent.

    With ``keep_statistics``, batch normalization keeps its running statistics in training.
    """

    keep_statistics = False

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        _, *laterals, top = config.widths
        stem = config.widths[0]
        self.input_layer = nn.Sequential(nn.Conv2d(3, stem, 3, 1, 1, bias=False), nn.BatchNorm2d(stem), nn.PReLU(stem))
        units: list[nn.Module] = []
        width = stem
        for out, count in zip(config.widths, config.units, strict=True):
            units += [Unit(width if i == 0 else out, out, 2 if i == 0 else 1) for i in range(count)]
            width = out
        self.body = nn.Sequential(*units)
        sides = [config.input_size // (16 if i < COARSE else 8 if i < MIDDLE else 4) for i in range(config.num_styles)]
        self.styles = nn.ModuleList(StyleHead(top, config.style_dim, side) for side in sides)
        self.latlayer1 = nn.Conv2d(laterals[1], top, 1)
        self.latlayer2 = nn.Conv2d(laterals[0], top, 1)
        self.latlayer2.requires_grad_(requires_grad=config.num_styles > MIDDLE)  # else no head reads the finest map
        self.apply(keep_variance)

    def forward(self, crop_BCHW: Tensor) -> Tensor:
        """Return the styles (B, S, D) of crops float32 in [−1, 1]."""
        x = self.input_layer(crop_BCHW.contiguous(memory_format=channels_last))  # twice as fast on a CPU
        end_two, end_three = sum(self.config.units[:2]), sum(self.config.units[:3])
        taps = []
        for stage in (self.body[:end_two], self.body[end_two:end_three], self.body[end_three:]):
            for unit in stage:
                x = self.stage(unit, x)
            taps.append(x)
        fine, middle, coarse = taps
        middle = enlarge(coarse, middle) + self.latlayer1(middle)
        fine = enlarge(middle, fine) + self.latlayer2(fine)
        sources = [coarse if i < COARSE else middle if i < MIDDLE else fine for i in range(len(self.styles))]
        return stack([self.stage(head, source) for head, source in zip(self.styles, sources, strict=True)], dim=1)

    def train(self, mode: bool = True) -> Self:
        """Set training or evaluation mode; kept statistics stay in evaluation mode."""
        super().train(mode)
        if self.keep_statistics:
            for module in self.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


def enlarge(x_BCHW: Tensor, like_BCHW: Tensor) -> Tensor:
    """Resize maps to the side of others, bilinearly and corner on corner."""
    return functional.interpolate(x_BCHW, size=like_BCHW.shape[-2:], mode="bilinear", align_corners=True)


def keep_variance(module: nn.Module) -> None:
    """Initialize a convolution to keep the variance of its input; torch's default loses it over a head's six layers."""
    if isinstance(module, nn.Conv2d) and not module.weight.is_meta:
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
