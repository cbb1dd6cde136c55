"""Reference activations of the public networks, and the weights that they were computed with."""

import json
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from torch import Tensor

from vitau.models.encoder import EncoderConfig
from vitau.models.generator import GeneratorConfig
from vitau.models.regions import RegionConfig

ORACLE = Path(__file__).parents[1] / "data" / "oracle"


class Reference:
    """The stored numbers; every weight and input is drawn from a seed that is the checksum of its name."""

    def numbers(self, name: str) -> Mapping[str, npt.NDArray[np.float32]]:
        return dict(np.load(ORACLE / f"{name}.npz"))

    def shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        return {key: tuple(shape) for key, shape in json.loads((ORACLE / f"keys_{name}.json").read_text()).items()}

    def normal(self, key: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
        legacy = np.random.RandomState(zlib.crc32(key.encode()))  # frozen by NEP 19, so part of the reference
        return legacy.standard_normal(int(np.prod(shape))).astype(np.float32).reshape(shape)

    def weights(self, own: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
        """Give every tensor of a state dict its value; the blur stays as the architecture makes it."""
        keys = {prefix + key for key in own}
        return {
            key: tensor if key.endswith("kernel") else torch.from_numpy(self.weight(prefix + key, tuple(tensor.shape), keys))
            for key, tensor in own.items()
        }

    def weight(self, key: str, shape: tuple[int, ...], keys: set[str]) -> npt.NDArray[np.generic]:
        stem, _, last = key.rpartition(".")
        if last == "num_batches_tracked":
            return np.zeros(shape, np.int64)
        return np.asarray(self.scaled(self.normal(key, shape), key, is_batch_norm=f"{stem}.running_mean" in keys), np.float32)

    def scaled(self, g: npt.NDArray[np.float32], key: str, *, is_batch_norm: bool) -> npt.NDArray[np.floating]:  # noqa: PLR0911 - a line per kind
        match key.split("."):
            case [*_, "running_var"]:
                return 1 + 0.2 * np.abs(g)
            case [*_, "running_mean"]:
                return 0.1 * g
            case [*path, last] if "style" in path:
                return g * (100 if last == "weight" else 10)
            case [*_, "modulation", "bias"]:
                return 1 + 0.1 * g
            case [*_, "noise", "weight"] | [*_, "bias"]:
                return 0.1 * g
            case [*_, "weight"] if g.ndim == 1:
                return 1 + 0.1 * g if is_batch_norm else 0.25 + 0.05 * g
            case [*_, "weight"] if g.ndim == 4:
                return g * np.sqrt(2 / np.prod(g.shape[1:]))
        return g

    def samples(self, x: Tensor, count: int = 64) -> npt.NDArray[np.float32]:
        """Return the values of a tensor at evenly spaced flat positions, as the reference keeps them."""
        return x.detach().contiguous().flatten().numpy()[np.linspace(0, x.numel() - 1, count).astype(np.int64)]


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference()


@pytest.fixture(scope="session")
def small_regions() -> RegionConfig:
    """A region model with all its parts that runs in no time."""
    generator = GeneratorConfig(size=32, style_dim=8, mapping_layers=2, channel_multiplier=1 / 64, max_channels=12)
    encoder = EncoderConfig(input_size=64, units=(1, 1, 1, 1), widths=(4, 8, 8, 16), style_dim=8, num_styles=8)
    return RegionConfig(encoder=encoder, generator=generator, heatmap_size=32, sigma=5.0)
