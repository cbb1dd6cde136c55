"""Benchmark of the true heatmaps of a batch against a loop over images, regions and peaks."""

from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from vitau.bench.measure import Result, Watch, compare, rate
from vitau.models.heatmaps import CUT, peaks, true_heatmaps
from vitau.processes import keep_freed_memory
from vitau.schema import AUS, CROP_SIZE, NUM_LANDMARKS

ROUNDS: Final = 15
BATCH: Final = 32
SIZES: Final = (64, 128)
CACHED: Final = 1 << 18
"""Values of half of the memory that fits in a processor's cache."""


def bench(rounds: int = ROUNDS, watch: Watch = lambda *_: None) -> Result:
    """Draw the heatmaps of a batch of 32 images with random landmarks and labels, of side 64 and 128, in one thread.

    Freed memory is kept, as in a training. The baseline evaluates each Gaussian on the whole grid in numpy, peak by peak, as
    the formula is written. A Gaussian is a product of a column and a row, but its cut is a disc: torch and numpy have no
    operation that multiplies and cuts at once. The last floor is the time of the operations that are left, on memory in the
    cache. Discs as patches would save little: two thirds of these maps' values are not zero (``share drawn``), because a disc
    reaches 61 of 128 px from its peak.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        cases = tuple(_case(size, rounds, watch) for size in SIZES)
    finally:
        torch.set_num_threads(threads)
    return Result(
        name="heatmaps",
        compared="true heatmaps of a batch, ours beside a numpy loop over images and peaks",
        difference="of the heatmaps, whose values are in [−1, 1]",
        cases=cases,
    )


def _case(size: int, rounds: int, watch: Watch) -> Any:
    generator = torch.Generator().manual_seed(3)
    landmarks_BL2 = torch.rand((BATCH, NUM_LANDMARKS, 2), generator=generator) * CROP_SIZE
    affected_BA = torch.rand((BATCH, len(AUS)), generator=generator) < 0.5
    return compare(
        f"{BATCH} images, side {size}",
        partial(true_heatmaps, landmarks_BL2, affected_BA, size),
        partial(draw_one_by_one, landmarks_BL2, affected_BA, size),
        _judge,
        amount=BATCH,
        unit="images/s",
        rounds=rounds,
        watch=watch,
        at_least=20.0,
        floors={
            "writing the maps once": rate(partial(torch.zeros, (BATCH * len(AUS), size, size)), BATCH, rounds),
            "one product per map": rate(partial(products, size), BATCH, rounds),
            "two products, two cuts, sum and clamp": rate(partial(passes, size), BATCH, rounds),
        },
    )


def products(size: int) -> Tensor:
    """Multiply a column by a row for one Gaussian per map, without the cut and the second one: no drawing computes less."""
    side_NS = torch.ones((BATCH * len(AUS), size))
    return side_NS[:, :, None] * side_NS[:, None, :]


def passes(size: int) -> None:
    """Compute what every map needs on memory that is used again, without Gaussians of its own and memory for the maps."""
    num_maps = max(1, CACHED // size**2)
    side_PMS = torch.ones((2, num_maps, size))
    drawn_PMHW = torch.empty((2, num_maps, size, size))
    for _ in range(BATCH * len(AUS) // num_maps):
        torch.mul(side_PMS[..., :, None], side_PMS[..., None, :], out=drawn_PMHW)
        torch.hardshrink(drawn_PMHW, CUT, out=drawn_PMHW)
        drawn_PMHW[0].add_(drawn_PMHW[1]).clamp_(-1, 1)


def draw_one_by_one(landmarks_BL2: Tensor, affected_BA: Tensor, size: int) -> Tensor:
    """Draw the same heatmaps (B, 8, size, size) with one evaluation of the Gaussian per peak."""
    center_BAP2 = peaks(landmarks_BL2).numpy() * (size / CROP_SIZE)
    y_HW, x_HW = np.mgrid[:size, :size].astype(np.float64)
    drawn_BAHW = np.zeros((len(center_BAP2), len(AUS), size, size))
    sigma = 20.0 * size / 128
    for image, center_AP2 in enumerate(center_BAP2):
        for region, center_P2 in enumerate(center_AP2):
            for x, y in center_P2:
                bell_HW = np.exp(-((x_HW - x) ** 2 + (y_HW - y) ** 2) / (2 * sigma**2))
                drawn_BAHW[image, region] += np.where(bell_HW < CUT, 0.0, bell_HW)
            drawn_BAHW[image, region] *= 1.0 if affected_BA[image, region] else -1.0
    return torch.from_numpy(drawn_BAHW.clip(-1, 1))


def _judge(ours: Tensor, theirs: Tensor) -> Mapping[str, float]:
    difference = np.abs(ours.numpy() - theirs.numpy())
    difference[difference > CUT * 0.99] = 0.0  # where rounding puts a Gaussian on the other side of the cut
    return {
        "max_difference": float(difference.max()),
        "share drawn": float((ours != 0).float().mean()),
        "share_cut_otherwise": float((np.abs(ours.numpy() - theirs.numpy()) > 1e-3).mean()),
    }
