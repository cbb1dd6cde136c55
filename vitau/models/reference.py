"""Weights and inputs that depend on the names of tensors alone: two implementations can be compared without a checkpoint.

The value of a tensor is drawn from a seed that is the checksum of its key. Activations that the public implementations compute
from such weights are kept as numbers; :mod:`vitau.models.verify` compares ours with them.
"""

import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Array = npt.NDArray[Any]


def normal(key: str, shape: tuple[int, ...]) -> Array:
    """Draw float32 normal values by name; a larger first dimension continues a smaller one."""
    legacy = np.random.RandomState(zlib.crc32(key.encode()))  # its stream is frozen by NEP 19
    return legacy.standard_normal(int(np.prod(shape))).astype(np.float32).reshape(shape)


def weights(own: Mapping[str, Tensor], prefix: str = "") -> dict[str, Tensor]:
    """Return the value of every tensor of a state dict; blur filters, constants of the architecture, keep theirs.

    Args:
        own: the state dict, by the public checkpoint's names; its values may be on the meta device, blur filters excepted.
        prefix: what the names are called with besides: ``encoder.``, ``interpreter.``, or nothing for a generator.
    """
    keys = {prefix + key for key in own}
    return {
        key: tensor if key.endswith("kernel") else torch.from_numpy(_weight(prefix + key, tuple(tensor.shape), keys))
        for key, tensor in own.items()
    }


def samples(x: Tensor, count: int = 64) -> Array:
    """Return the values of a tensor at evenly spaced flat positions, as the reference keeps them."""
    return x.detach().contiguous().flatten().numpy()[np.linspace(0, x.numel() - 1, count).astype(np.int64)]


def _weight(key: str, shape: tuple[int, ...], keys: set[str]) -> Array:
    stem, _, last = key.rpartition(".")
    if last == "num_batches_tracked":
        return np.zeros(shape, np.int64)
    return np.asarray(_scaled(normal(key, shape), key, is_batch_norm=f"{stem}.running_mean" in keys), np.float32)


def _scaled(g: Array, key: str, *, is_batch_norm: bool) -> Array:  # noqa: PLR0911 - a line per kind
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
            return np.asarray(g * np.sqrt(2 / np.prod(g.shape[1:])))
    return g
