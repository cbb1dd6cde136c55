"""Data-parallel training: one process per GPU or core computes its shard of each batch, and all take the same step.

``torchrun`` starts the processes and sets their ranks. With a single process, every function here does nothing. Sums over a
batch (losses, statistics of batch normalization) are divided by the count of the whole batch, so that the result is that of
one process with the whole batch. Only dropout differs, because each process has its own random state.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, Final, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from vitau.errors import TrainingError

T = TypeVar("T")

SYNC_TIMEOUT: Final = timedelta(hours=2)
"""Longest wait of one process for another: the main process evaluates, decodes and writes while the others wait."""


@contextmanager
def process_group() -> Iterator[None]:
    """Join the process group of ``torchrun``, if it started this process, and leave it at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if gpu else "gloo", timeout=SYNC_TIMEOUT)
    try:
        yield
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    """Return the number of processes of this training."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Return the rank of this process, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main_process() -> bool:
    """Return whether this process is the one that writes and reports."""
    return rank() == 0


@contextmanager
def main_process_first() -> Iterator[None]:
    """Run a block in the main process first; the others run it afterwards and find its results."""
    if not is_main_process():
        dist.barrier()
    yield
    if is_main_process() and world_size() > 1:
        dist.barrier()


def broadcast_from_main(compute: Callable[[], T]) -> T:
    """Call a function in the main process only and return its result in all processes."""
    if world_size() == 1:
        return compute()
    result = [compute() if is_main_process() else None]
    dist.broadcast_object_list(result, src=0)
    return result[0]  # type: ignore[return-value]


def all_gather(own: dict[str, T]) -> dict[str, T]:
    """Merge the dictionaries of all processes, which have different keys."""
    if world_size() == 1:
        return own
    gathered: list[Any] = [None] * world_size()
    dist.all_gather_object(gathered, own)
    return {key: value for dictionary in gathered for key, value in dictionary.items()}


def shard(num_items: int) -> slice:
    """Return this process's slice of the items of a batch.

    Raises:
        TrainingError: if there are fewer items than processes.
    """
    size, own = world_size(), rank()
    if num_items < size:
        raise TrainingError(f"a batch of {num_items} is too small for {size} processes: raise the batch size or start fewer")
    return slice(num_items * own // size, num_items * (own + 1) // size)


def mean(total: Tensor, count: Tensor | float) -> Tensor:
    """Divide this process's total by the mean count of all processes.

    The average of the results over processes is the mean over the whole batch.
    """
    if world_size() == 1:
        return total / torch.as_tensor(count, device=total.device).clamp(min=1)
    counted = torch.as_tensor(count, dtype=torch.float32, device=total.device).clone()
    dist.all_reduce(counted)
    return total * world_size() / counted.clamp(min=1)


def all_reduce_mean(value: Tensor) -> float:
    """Average a number over all processes."""
    if world_size() == 1:
        return value.item()
    summed = value.detach().clone()
    dist.all_reduce(summed)
    return summed.item() / world_size()


def wrap(model: nn.Module) -> nn.Module:
    """Wrap a model to average its gradients over all processes; a single process gets the model itself."""
    if world_size() == 1:
        return model
    return DistributedDataParallel(model, forward_sync_buffers=False)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model that :func:`wrap` was given."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def no_gradient_sync(model: nn.Module) -> AbstractContextManager[None]:
    """Return a context in which gradients accumulate in each process without being averaged."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


class _Sum(torch.autograd.Function):
    """Differentiable sum over processes: the loss of each depends on the shards of all."""

    @staticmethod
    def forward(_context: Any, own: Tensor) -> Tensor:
        summed = own.clone()
        dist.all_reduce(summed)
        return summed

    @staticmethod
    def backward(_context: Any, gradient: Tensor) -> Tensor:
        summed = gradient.contiguous().clone()
        dist.all_reduce(summed)
        return summed


class SyncBatchNorm(nn.BatchNorm2d):
    """Batch normalization over the shards of all processes; torch's own has no version for processors."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalize; in training by the statistics of the whole batch, in two passes, which keeps float32 precision."""
        if not self.training or world_size() == 1:
            return super().forward(x_BCHW)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        x = x_BCHW.float()
        count = _Sum.apply(x.new_tensor(x.numel() / x.shape[1]))
        mean_C = _Sum.apply(x.sum((0, 2, 3))) / count
        centered = x - mean_C[:, None, None]
        var_C = _Sum.apply(centered.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean_C, self.momentum)
            self.running_var.lerp_(var_C * count / (count - 1), self.momentum)
            self.num_batches_tracked += 1
        scale_C = self.weight * torch.rsqrt(var_C + self.eps)
        return (centered * scale_C[:, None, None] + self.bias[:, None, None]).to(x_BCHW.dtype)


def shared_norm(device: torch.device) -> type[SyncBatchNorm | nn.SyncBatchNorm]:
    """Return the batch normalization over all processes for a device: on GPUs the fused kernels of torch, elsewhere ours."""
    return nn.SyncBatchNorm if device.type == "cuda" else SyncBatchNorm


def sync_batch_norm(model: nn.Module) -> None:
    """Replace every batch normalization of a model by one over all processes; weights and their names stay."""
    if world_size() == 1:
        return
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                shared = shared_norm(child.weight.device)(child.num_features, child.eps, child.momentum)
                shared.weight, shared.bias = child.weight, child.bias
                for buffer, tensor in child.named_buffers():
                    shared.register_buffer(buffer, tensor)
                setattr(module, name, shared)
