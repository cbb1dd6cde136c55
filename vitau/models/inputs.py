"""Input of both models from aligned face crops, the same in training and scoring."""

from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

SMALL_INPUT: Final = 96
"""Largest input, px, for which crops are kept at the input's size during training, in whole numbers."""


def to_input(crop_NHWC: Tensor | npt.NDArray[np.uint8], size: int) -> Tensor:
    """Convert crops to the models' input.

    Args:
        crop_NHWC: uint8 RGB, square, any side; an array is taken to the CPU, a tensor stays on its device.
        size: side of the result, px. Resized by an antialiased bilinear filter where the crop has another side; up to
            ``SMALL_INPUT`` px in whole numbers, as training keeps small crops, so that both see the same input.

    Returns:
        float32 (N, 3, size, size) in [−1, 1], RGB, channels last in memory, which makes convolutions faster.

    Raises:
        ValueError: the crops are not uint8 of shape (N, S, S, 3).
    """
    crop = torch.as_tensor(crop_NHWC)
    if crop.dtype != torch.uint8 or crop.ndim != 4 or crop.shape[3] != 3 or crop.shape[1] != crop.shape[2]:
        raise ValueError(
            f"crops must be uint8 of shape (N, S, S, 3), these are {crop.dtype} of shape {tuple(crop.shape)}: "
            "stack aligned crops in one array"
        )
    crop_BCHW = crop.permute(0, 3, 1, 2).float()
    if crop_BCHW.shape[-1] != size:
        crop_BCHW = functional.interpolate(crop_BCHW, size=(size, size), mode="bilinear", align_corners=False, antialias=True)
        if size <= SMALL_INPUT:
            crop_BCHW = to_pixels(crop_BCHW.div_(127.5).sub_(1.0))
    return crop_BCHW.div_(127.5).sub_(1.0).contiguous(memory_format=torch.channels_last)


def to_device(array: npt.NDArray[Any], device: torch.device) -> Tensor:
    """Return an array as a tensor on a device; the tensor of a processor shares the memory of the array.

    A GPU copies from pinned memory while this process prepares the next arrays; its kernels wait for the copy.
    """
    tensor = torch.from_numpy(array)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def to_pixels(input_BCHW: Tensor) -> Tensor:
    """Return inputs in [−1, 1] as pixels: whole numbers from 0 to 255, float32.

    Training keeps small crops as these pixels. Scoring rounds by the same operations, so that a value halfway between two
    numbers is rounded alike.
    """
    return ((input_BCHW + 1) * 127.5).round()
