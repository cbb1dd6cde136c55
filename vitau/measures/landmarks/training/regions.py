"""Drawing and training of all regions, each in a process of its own."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor

import torch

from vitau.measures.landmarks.refinement.network import REGIONS, PointNet
from vitau.measures.landmarks.training.draw import draw_patches
from vitau.measures.landmarks.training.fit import FitConfig, fit
from vitau.processes import init_worker


def train_regions(num_patches: int, config: FitConfig, num_processes: int) -> dict[str, PointNet]:
    """Train a network per region on patches that are drawn for it; the result does not depend on the processes.

    Raises:
        TrainingError: fewer patches than a batch, or a loss that is not finite.
    """
    if num_processes == 1:
        return {region: _train(region, num_patches, config) for region in REGIONS}
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_processes, mp_context=context, initializer=init_worker) as pool:
        waiting = {region: pool.submit(_train, region, num_patches, config) for region in REGIONS}
        return {region: network.result() for region, network in waiting.items()}


def _train(region: str, num_patches: int, config: FitConfig) -> PointNet:
    torch.set_num_threads(1)  # more threads change the order of sums, and wait for each other on a busy machine

    def tell(what: str) -> None:
        print(f"{region}: {what}", file=sys.stderr, flush=True)

    def drawn_so_far(done: int, whole: int) -> None:
        if done % 2000 == 0:
            tell(f"{done} of {whole} patches drawn")

    drawn = draw_patches(region, num_patches, config.seed, progress=drawn_so_far)
    return fit(region, drawn, config, lambda epoch, loss: tell(f"epoch {epoch + 1} of {config.epochs}, loss {loss:.3f}"))
