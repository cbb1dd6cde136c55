"""StyleGAN2's generator (Karras et al., CVPR 2020), as a source of activations; names are those of the public checkpoints."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from torch import Tensor, nn
from torch.nn import functional

from vitau.models.recompute import Recomputing

# B image, S style (one per styled convolution and one more), D style width, C channel, O output channel, H row, W column


@dataclass(frozen=True, kw_only=True)
class GeneratorConfig:
    """Architecture of a generator. The defaults are FFHQ's at 1024 px; a small one has a fractional channel multiplier."""

    size: int = 1024
    style_dim: int = 512
    mapping_layers: int = 8
    channel_multiplier: float = 2.0
    max_channels: int = 512

    def __post_init__(self) -> None:
        if self.size < 8 or self.size & (self.size - 1):
            raise ValueError(f"a generator of {self.size} px is impossible, it doubles from 4: choose a power of two from 8")

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Sides of the feature maps, px: 4, 8, … up to the size."""
        return tuple(2**i for i in range(2, self.size.bit_length()))

    @property
    def num_styles(self) -> int:
        """Number of style vectors of one image."""
        return 2 * len(self.resolutions)

    def channels(self, resolution: int) -> int:
        """Channels of the feature maps of a resolution."""
        return min(self.max_channels, int(16384 * self.channel_multiplier) // resolution)


def draw(*shape: int, divisor: float = 1.0) -> Tensor:
    """Draw normal values divided by a number; on the meta device, where torch would load its compiler, nothing is computed."""
    empty = torch.empty(shape)
    return empty if empty.is_meta else empty.normal_() / divisor


def blur_kernel() -> Tensor:
    """Return the 4×4 filter [1, 3, 3, 1] that follows a doubling, of sum 4 for the zeros between the samples."""
    line = (1, 3, 3, 1)
    return torch.tensor([[row * column / 16 for column in line] for row in line])


class EqualLinear(nn.Module):
    """A linear layer whose weights are scaled at run time, optionally followed by leaky ReLU times √2."""

    def __init__(self, width: int, out: int, *, bias: float = 0.0, lr_mul: float = 1.0, activated: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(draw(out, width, divisor=lr_mul))
        self.bias = nn.Parameter(torch.full((out,), bias))
        self.scale, self.lr_mul, self.activated = lr_mul / math.sqrt(width), lr_mul, activated

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer to the last axis."""
        x = functional.linear(x, self.weight * self.scale, self.bias * self.lr_mul)
        return functional.leaky_relu(x, 0.2) * math.sqrt(2) if self.activated else x


class PixelNorm(nn.Module):
    """Layer that scales vectors to a mean square of 1."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize the last axis."""
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-8)


class Filter(nn.Module):
    """The blur of an upsampling, under its public name."""

    kernel: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("kernel", blur_kernel())

    def forward(self, x: Tensor) -> Tensor:
        """Blur every channel; the map shrinks by 3 px."""
        channels = x.shape[1]
        return functional.conv2d(x, self.kernel.expand(channels, 1, 4, 4), groups=channels)


class ModulatedConv(nn.Module):
    """A convolution whose input channels are scaled by a style and whose output is scaled back to unit variance.

    Scaling the maps instead of the weights gives the same numbers with one convolution for the whole batch.
    """

    def __init__(
        self, width: int, out: int, kernel: int, style_dim: int, *, demodulate: bool = True, double: bool = False
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(draw(1, out, width, kernel, kernel))
        self.modulation = EqualLinear(style_dim, width, bias=1.0)
        self.blur = Filter() if double else None
        self.scale, self.padding, self.demodulate = 1 / math.sqrt(width * kernel**2), kernel // 2, demodulate

    def forward(self, x_BCHW: Tensor, style_BD: Tensor) -> Tensor:
        """Convolve; a doubling one returns maps of twice the side."""
        weight_OCkk = self.weight[0] * self.scale
        style_BC = self.modulation(style_BD)
        x = x_BCHW * style_BC[:, :, None, None]
        if self.blur is None:
            x = functional.conv2d(x, weight_OCkk, padding=self.padding)
        else:
            x = self.blur(functional.pad(functional.conv_transpose2d(x, weight_OCkk.transpose(0, 1), stride=2), (1, 1, 1, 1)))
        if self.demodulate:
            power_BO = style_BC.square() @ weight_OCkk.square().sum((2, 3)).T
            x = x * torch.rsqrt(power_BO + 1e-8)[:, :, None, None]
        return x


class NoiseWeight(nn.Module):
    """Weight of a layer's noise."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))


class ActivationBias(nn.Module):
    """A bias per channel, added together with the noise, then leaky ReLU times √2."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x_BCHW: Tensor, noise_11HW: Tensor) -> Tensor:
        """Return the activation."""
        return functional.leaky_relu(x_BCHW + (noise_11HW + self.bias[:, None, None]), 0.2) * math.sqrt(2)


class StyledConv(nn.Module):
    """A modulated convolution, noise, bias and activation."""

    def __init__(self, width: int, out: int, style_dim: int, *, double: bool = False) -> None:
        super().__init__()
        self.conv = ModulatedConv(width, out, 3, style_dim, double=double)
        self.noise = NoiseWeight()
        self.activate = ActivationBias(out)

    def forward(self, x_BCHW: Tensor, style_BD: Tensor, noise_11HW: Tensor) -> Tensor:
        """Return the layer's activation."""
        x: Tensor = self.activate(self.conv(x_BCHW, style_BD), self.noise.weight * noise_11HW)
        return x


class ToRGB(nn.Module):
    """Layer that converts an activation to an image and adds it to the upsampled image of the resolution below."""

    def __init__(self, width: int, style_dim: int, *, double: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.conv = ModulatedConv(width, 3, 1, style_dim, demodulate=False)
        self.upsample = Filter() if double else None

    def forward(self, x_BCHW: Tensor, style_BD: Tensor, below_B3HW: Tensor | None = None) -> Tensor:
        """Return the image up to this resolution."""
        image: Tensor = self.conv(x_BCHW, style_BD) + self.bias
        if self.upsample is None or below_B3HW is None:
            return image
        batch, channels, height, width = below_B3HW.shape
        spread = below_B3HW.new_zeros(batch, channels, 2 * height, 2 * width)
        spread[..., ::2, ::2] = below_B3HW
        return image + self.upsample(functional.pad(spread, (2, 1, 2, 1)))


class ConstantInput(nn.Module):
    """The learned 4×4 map that every image starts from."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.input = nn.Parameter(draw(1, channels, 4, 4))


class Noises(nn.Module):
    """The fixed noise maps of the styled convolutions, as buffers."""

    def __init__(self, resolutions: Sequence[int]) -> None:
        super().__init__()
        for i, side in enumerate(resolutions):
            self.register_buffer(f"noise_{i}", draw(1, 1, side, side))

    def maps(self) -> Iterator[Tensor]:
        """Yield the maps, one per styled convolution in order."""
        yield from self.buffers()


class Generator(Recomputing):
    """The whole generator in its public layout; it computes only the requested levels."""

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        dim = config.style_dim
        mapping = [EqualLinear(dim, dim, lr_mul=0.01, activated=True) for _ in range(config.mapping_layers)]
        self.style = nn.Sequential(PixelNorm(), *mapping)
        lowest, *higher = config.resolutions
        width = config.channels(lowest)
        self.input = ConstantInput(width)
        self.conv1 = StyledConv(width, width, dim)
        self.to_rgb1 = ToRGB(width, dim, double=False)
        self.convs = nn.ModuleList()
        self.to_rgbs = nn.ModuleList()
        for resolution in higher:
            out = config.channels(resolution)
            self.convs += [StyledConv(width, out, dim, double=True), StyledConv(out, out, dim)]
            self.to_rgbs.append(ToRGB(out, dim))
            width = out
        self.noises = Noises([lowest, *(side for side in higher for _ in range(2))])

    def mapping(self, z: Tensor) -> Tensor:
        """Map vectors (…, D) by the mapping network."""
        w: Tensor = self.style(z)
        return w

    def activations(self, style_BSD: Tensor) -> Iterator[Tensor]:
        """Yield the constant input, then the output of every styled convolution in order, each computed on demand."""
        x = self.input.input.expand(style_BSD.shape[0], -1, -1, -1).contiguous(memory_format=torch.channels_last)
        yield x
        layers = (self.conv1, *self.convs)
        for layer, style_BD, noise in zip(
            layers, style_BSD.unbind(1), self.noises.maps(), strict=False
        ):  # the image has one more
            x = self.stage(layer, x, style_BD, noise)
            yield x

    def features(self, style_BSD: Tensor, levels: Sequence[int]) -> list[Tensor]:
        """Return the second activation of each chosen resolution; nothing above the last one is computed, and no image.

        Args:
            style_BSD: one style per layer.
            levels: which resolutions, ascending; 0 is 4 px, 1 is 8 px, …
        """
        steps = islice(self.activations(style_BSD), 2 * levels[-1] + 2)
        return [x for i, x in enumerate(steps) if i % 2 == 1 and i // 2 in levels]

    def image(self, style_BSD: Tensor) -> Tensor:
        """Return the image (B, 3, size, size), about [−1, 1]: to check the network, not to analyze faces."""
        lowest, *higher = self.features(style_BSD, range(len(self.config.resolutions)))
        image: Tensor = self.to_rgb1(lowest, style_BSD[:, 1])
        for i, (to_rgb, x) in enumerate(zip(self.to_rgbs, higher, strict=True)):
            image = to_rgb(x, style_BSD[:, 2 * i + 3], image)
        return image

    def freeze_unused(self, levels: Sequence[int], *, mapping: bool) -> None:
        """Freeze the parameters that :meth:`features` of these levels does not use; they get no gradient."""
        unused = [self.to_rgb1, self.to_rgbs, self.convs[2 * levels[-1] :], *([] if mapping else [self.style])]
        for module in unused:
            module.requires_grad_(requires_grad=False)
