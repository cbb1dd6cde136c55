"""Training of one refinement network on drawn patches."""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from vitau.errors import TrainingError
from vitau.measures.landmarks.refinement.network import REGIONS, WIDTHS, PointNet, to_input
from vitau.measures.landmarks.refinement.patches import PATCH_PX, Region
from vitau.measures.landmarks.training.draw import DrawnPatches

_SHIFT: Final = 8
_WARM_UP_STEPS: Final = 100
_DECAY: Final = 0.998
_COMBINED: Final = {
    # means of these points minus means of those are learned as such: the measures are such differences
    "upper": (
        ((17, 18, 19, 20, 21), (36, 37, 38, 39, 40, 41)),
        ((40, 41), (37, 38)),
        ((17, 18, 19, 20, 21), ()),
        ((37, 38), ()),
    ),
    "lower": (((48,), (33,)), ((48,), ()), ((31,), (33,))),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class FitConfig:
    """Settings of a training; ``widths`` are those of the network."""

    epochs: int = 12
    batch_size: int = 48
    learning_rate: float = 2e-3
    weight_decay: float = 1e-3
    seed: int = 0
    widths: Sequence[int] = WIDTHS


def fit(region: str, drawn: DrawnPatches, config: FitConfig, report: Callable[[int, float], None] | None = None) -> PointNet:
    """Train the network of a region; the result depends only on the arguments.

    Args:
        region: key of ``REGIONS``.
        drawn: patches to learn from.
        config: settings.
        report: called after every epoch with its number, from 0, and the mean loss.

    Raises:
        TrainingError: fewer patches than a batch, or a loss that is not finite.
    """
    num_steps = config.epochs * (len(drawn.patches) // config.batch_size)
    if num_steps < 1:
        raise TrainingError(f"{len(drawn.patches)} patches are fewer than a batch of {config.batch_size}; draw more")
    generator = torch.Generator().manual_seed(config.seed)
    torch.manual_seed(config.seed)
    network = PointNet(len(REGIONS[region].points), config.widths)
    network = network.to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(network)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    combined_MK, points = combinations(region), torch.from_numpy(drawn.points)
    step = 0
    for epoch in range(config.epochs):
        order, losses = torch.randperm(len(points), generator=generator), 0.0
        network.train()
        for start in range(0, len(points) - config.batch_size + 1, config.batch_size):
            chosen = order[start : start + config.batch_size]
            patch_BCHW, true_BK2 = _augment(to_input(drawn.patches[chosen.numpy()]), points[chosen], generator)
            rate = 0.5 + 0.5 * math.cos(math.pi * step / num_steps)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * (min(1, (step + 1) / _WARM_UP_STEPS) * rate + 0.005)
            losses += _train_step(network, optimizer, patch_BCHW, true_BK2, combined_MK)
            step += 1
            _average(averaged, network, step)
        if report is not None:
            report(epoch, losses / (len(points) // config.batch_size))
    return averaged.eval()


def combinations(region: str) -> Tensor:
    """Return the matrix (M, K) from the points of a region to the differences that the measures are made of."""
    known: Region = REGIONS[region]
    matrix = np.zeros((len(_COMBINED[region]), len(known.points)), np.float32)
    for row, (plus, minus) in enumerate(_COMBINED[region]):
        for landmarks, sign in ((plus, 1.0), (minus, -1.0)):
            for landmark in landmarks:
                matrix[row, known.points.index(landmark)] = sign / len(landmarks)
    return torch.from_numpy(matrix)


def _train_step(
    network: PointNet, optimizer: torch.optim.Optimizer, patch_BCHW: Tensor, true_BK2: Tensor, combined_MK: Tensor
) -> float:
    points_BK2, log_error_BK = network(patch_BCHW.contiguous(memory_format=torch.channels_last))
    away_BK2 = points_BK2 - true_BK2
    loss = functional.smooth_l1_loss(points_BK2, true_BK2)
    wrong_BM2 = torch.einsum("mk,bkc->bmc", combined_MK, away_BK2)
    loss = loss + functional.smooth_l1_loss(wrong_BM2, torch.zeros_like(wrong_BM2), beta=0.5)
    # the expected error learns from the error, which does not learn from it
    error_BK = away_BK2.detach().abs().sum(-1)
    total = loss + 0.1 * (error_BK / log_error_BK.exp() + 2 * log_error_BK).mean()
    if not torch.isfinite(total):
        raise TrainingError("the loss is not finite; lower the learning rate")
    optimizer.zero_grad()
    total.backward()
    torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
    optimizer.step()
    return float(loss.detach())


def _augment(patch_BCHW: Tensor, points_BK2: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Shift a batch, cover a square of some batches, and change the brightness and contrast of every channel."""
    batch = len(patch_BCHW)

    def integer(low: int, high: int) -> int:
        return int(torch.randint(low, high, (), generator=generator))

    x, y = integer(-_SHIFT, _SHIFT + 1), integer(-_SHIFT, _SHIFT + 1)
    padded = functional.pad(patch_BCHW, (_SHIFT,) * 4, mode="reflect")
    shifted = padded[:, :, _SHIFT - y :, _SHIFT - x :][:, :, :PATCH_PX, :PATCH_PX].clone()
    if torch.rand((), generator=generator) < 0.3:
        size = integer(8, 30)
        top, left = integer(0, PATCH_PX - size), integer(0, PATCH_PX - size)
        shifted[:, :, top : top + size, left : left + size] = torch.randn(batch, 3, 1, 1, generator=generator)
    gain, offset = (torch.randn(batch, 3, 1, 1, generator=generator) for _ in range(2))
    return shifted * (1 + 0.1 * gain) + 0.1 * offset, points_BK2 + torch.tensor([x, y])


@torch.no_grad()
def _average(averaged: PointNet, network: PointNet, step: int) -> None:
    """Move the averaged weights towards the current ones."""
    decay = min(_DECAY, (step + 1) / (step + 10))
    for kept, now in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if kept.is_floating_point():
            kept.mul_(decay).add_(now, alpha=1 - decay)
        else:
            kept.copy_(now)
