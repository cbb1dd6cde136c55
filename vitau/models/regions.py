"""The region model: encoder, generator and interpreter, from a face to one heatmap per action-unit region."""

from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor, nn

from vitau.models.encoder import Encoder, EncoderConfig
from vitau.models.generator import Generator, GeneratorConfig
from vitau.models.heatmaps import decode, decode_sides
from vitau.models.interpreter import Interpreter
from vitau.schema import AUS

# B image, C channel, H row, W column, A region (8, in the order of schema.AUS), S style, D style width


@dataclass(frozen=True, kw_only=True)
class RegionConfig:
    """Architecture of a region model; the defaults are the paper's.

    * ``features``: the third of the generator's pyramid that is read, coarse first; the paper does not define the thirds.
    * ``mode``: "paired" heatmaps (the paper's) show if a region is affected, both peaks with one sign. "sided" ones show which
      of its sides are, each peak with its own sign.
    * ``latent_route``: "wplus" feeds the styles into the generator (the paper), "mapping" into its mapping network (FG-Net).
    * ``sigma``: of the true heatmaps, px of the heatmap.
    * ``num_outputs``: above 8 for weights with further, unused outputs (FG-Net's have 32).
    """

    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    generator: GeneratorConfig = field(default_factory=GeneratorConfig)
    features: Literal["all", "early", "middle", "late"] = "all"
    mode: Literal["paired", "sided"] = "paired"
    latent_route: Literal["wplus", "mapping"] = "wplus"
    heatmap_size: int = 128
    sigma: float = 20.0
    num_outputs: int = len(AUS)
    dropout: float = 0.1

    def __post_init__(self) -> None:
        if (self.encoder.num_styles, self.encoder.style_dim) != (self.generator.num_styles, self.generator.style_dim):
            raise ValueError(
                f"the encoder gives {self.encoder.num_styles} styles of width {self.encoder.style_dim}, the generator of "
                f"{self.generator.size} px takes {self.generator.num_styles} of {self.generator.style_dim}: make them equal"
            )

    @property
    def levels(self) -> range:
        """Indices of the generator's resolutions that are read, 0 for 4 px; a remainder goes to the earlier thirds."""
        count = len(self.generator.resolutions)
        first, second = -(-count // 3), -(-2 * count // 3)
        return {"all": range(count), "early": range(first), "middle": range(first, second), "late": range(second, count)}[
            self.features
        ]


def build_regions(config: RegionConfig) -> "RegionModel":
    """Build the model with fresh weights."""
    return RegionModel(config)


class RegionModel(nn.Module):
    """Encoder, generator and interpreter, trained together; split before the heatmap output for Grad-CAM."""

    latent_avg: Tensor

    def __init__(self, config: RegionConfig) -> None:
        super().__init__()
        self.config = config
        self.input_size = config.encoder.input_size
        self.encoder = Encoder(config.encoder)
        self.generator = Generator(config.generator)
        self.generator.freeze_unused(config.levels, mapping=config.latent_route == "mapping")
        resolutions = [config.generator.resolutions[level] for level in config.levels]
        self.interpreter = Interpreter(
            [config.generator.channels(resolution) for resolution in resolutions],
            resolutions,
            size=config.heatmap_size,
            num_outputs=config.num_outputs,
            dropout=config.dropout,
        )
        self.register_buffer("latent_avg", torch.zeros(config.generator.num_styles, config.generator.style_dim))

    def forward(self, crop_BCHW: Tensor) -> Tensor:
        """Return the heatmaps (B, 8, size, size) of crops float32 in [−1, 1]; not clamped."""
        return self.tail(self.features(crop_BCHW))

    def styles(self, crop_BCHW: Tensor) -> Tensor:
        """Return the generator's input (B, S, D): the encoder's styles plus the average latent, mapped if so configured."""
        style_BSD: Tensor = self.encoder(crop_BCHW) + self.latent_avg
        return self.generator.mapping(style_BSD) if self.config.latent_route == "mapping" else style_BSD

    def features(self, crop_BCHW: Tensor) -> Tensor:
        """Return the activation of the last convolution before the heatmaps (B, C, H, W)."""
        return self.interpreter.before_output(self.generator.features(self.styles(crop_BCHW), self.config.levels))

    def tail(self, x_BCHW: Tensor) -> Tensor:
        """Compute the heatmaps (B, 8, size, size) from :meth:`features`."""
        return self.interpreter.tail(x_BCHW)[:, : len(AUS)]

    def scores(self, heatmaps_BAHW: Tensor) -> Tensor:
        """Compute the scores (B, 8) of the regions from heatmaps by the mode: affected above 0."""
        return decode_sides(heatmaps_BAHW).amax(-1) if self.config.mode == "sided" else decode(heatmaps_BAHW)
