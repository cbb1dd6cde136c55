"""Reference activations of the public networks, and the weights that they were computed with."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from vitau.models import reference as reference_values
from vitau.models.encoder import EncoderConfig
from vitau.models.generator import GeneratorConfig
from vitau.models.regions import RegionConfig

ORACLE = Path(__file__).parents[1] / "data" / "oracle"


class Reference:
    """The stored numbers, and the weights and inputs behind them."""

    normal = staticmethod(reference_values.normal)
    weights = staticmethod(reference_values.weights)
    samples = staticmethod(reference_values.samples)

    def numbers(self, name: str) -> Mapping[str, npt.NDArray[np.float32]]:
        return dict(np.load(ORACLE / f"{name}.npz"))

    def shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        return {key: tuple(shape) for key, shape in json.loads((ORACLE / f"keys_{name}.json").read_text()).items()}


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference()


@pytest.fixture(scope="session")
def small_regions() -> RegionConfig:
    """A region model with all its parts that runs in no time."""
    generator = GeneratorConfig(size=32, style_dim=8, mapping_layers=2, channel_multiplier=1 / 64, max_channels=12)
    encoder = EncoderConfig(input_size=64, units=(1, 1, 1, 1), widths=(4, 8, 8, 16), style_dim=8, num_styles=8)
    return RegionConfig(encoder=encoder, generator=generator, heatmap_size=32, sigma=5.0)
