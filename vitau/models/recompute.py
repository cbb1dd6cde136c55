"""Activation checkpointing: activations are computed again in the backward pass instead of kept (Chen et al., 2016)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


class Recomputing(nn.Module):
    """Network whose stages can be computed again in the backward pass: only their inputs are then kept.

    The second call draws the same dropout and does not change the running statistics of batch normalization. Result,
    gradients and statistics are therefore those of one call.
    """

    recompute = False

    def stage(self, module: nn.Module, *inputs: Tensor) -> Tensor:
        """Call one stage."""
        if not self.recompute or not torch.is_grad_enabled():
            output: Tensor = module(*inputs)
            return output
        recomputed: Tensor = checkpoint(module, *inputs, use_reentrant=False, context_fn=partial(_contexts, module))
        return recomputed


def set_recompute(model: nn.Module, recompute: bool) -> None:
    """Switch recomputation on or off in all networks of a model that support it."""
    for module in model.modules():
        if isinstance(module, Recomputing):
            module.recompute = recompute


def _contexts(module: nn.Module) -> tuple[AbstractContextManager[Any], AbstractContextManager[Any]]:
    return nullcontext(), _statistics_stay(module)


@contextmanager
def _statistics_stay(module: nn.Module) -> Iterator[None]:
    norms = [norm for norm in module.modules() if isinstance(norm, nn.BatchNorm2d) and norm.training]
    before = [(norm.momentum, norm.num_batches_tracked.clone()) for norm in norms if norm.num_batches_tracked is not None]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, (momentum, num_batches) in zip(norms, before, strict=True):
            norm.momentum = momentum
            norm.num_batches_tracked = num_batches
