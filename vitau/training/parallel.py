"""Several processes as one training, one per GPU or per core: each computes its share of a batch, all take the same step.

``torchrun`` starts the processes and says who is who. With a process alone everything here does nothing. What is summed over
a batch (losses, statistics of batch normalisation) is divided by what the whole batch has, so that the result is that of one
process with the whole batch, whatever the shares are; only dropout differs, since every process draws its own.
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

PATIENCE: Final = timedelta(hours=2)
"""How long processes wait for each other: the first one judges, decodes and writes while the others do nothing."""


@contextmanager
def process_group() -> Iterator[None]:
    """Join the processes that ``torchrun`` started together with this one, if it did, and leave them at the end."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("nccl" if gpu else "gloo", timeout=PATIENCE)
    try:
        yield
    finally:
        dist.destroy_process_group()


def world_size() -> int:
    """Count the processes of this training."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Say which of them this one is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main_process() -> bool:
    """Say whether this is the one that writes and talks."""
    return rank() == 0


@contextmanager
def main_process_first() -> Iterator[None]:
    """Let the first process through, and the others when it is done: they find what it made."""
    if not is_main_process():
        dist.barrier()
    yield
    if is_main_process() and world_size() > 1:
        dist.barrier()


def broadcast_from_main(ask: Callable[[], T]) -> T:
    """Call a function in the first process alone and give its answer in all."""
    if world_size() == 1:
        return ask()
    answer = [ask() if is_main_process() else None]
    dist.broadcast_object_list(answer, src=0)
    return answer[0]  # type: ignore[return-value]


def all_gather(own: dict[str, T]) -> dict[str, T]:
    """Put the dictionaries of all processes together; their keys differ."""
    if world_size() == 1:
        return own
    everybody: list[Any] = [None] * world_size()
    dist.all_gather_object(everybody, own)
    return {key: value for each in everybody for key, value in each.items()}


def share(num_items: int) -> slice:
    """Say which of a batch's items are this process's.

    Raises:
        TrainingError: there are fewer items than processes.
    """
    of_all, own = world_size(), rank()
    if num_items < of_all:
        raise TrainingError(f"a batch of {num_items} is too small for {of_all} processes: raise the batch size or start fewer")
    return slice(num_items * own // of_all, num_items * (own + 1) // of_all)


def mean(total: Tensor, count: Tensor | float) -> Tensor:
    """Divide this process's total by the mean count of all: averaged over processes, this is the mean over the whole batch."""
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
    """Let the gradients of a model be averaged over all processes; alone, the model is returned as it is."""
    if world_size() == 1:
        return model
    return DistributedDataParallel(model, forward_sync_buffers=False)


def unwrap(model: nn.Module) -> nn.Module:
    """Return the model that :func:`wrap` was given."""
    return model.module if isinstance(model, DistributedDataParallel) else model


def no_gradient_sync(model: nn.Module) -> AbstractContextManager[None]:
    """Let gradients accumulate in each process: they are averaged once, before the step."""
    return model.no_sync() if isinstance(model, DistributedDataParallel) else nullcontext()


class _Sum(torch.autograd.Function):
    """A sum over processes through which gradients flow: everybody's loss depends on everybody's share."""

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
    """Batch normalisation over the shares of all processes; torch's own refuses tensors on a processor."""

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Normalise; in training by the statistics of the whole batch, in two passes, which loses no digits."""
        if not self.training or world_size() == 1:
            return super().forward(x_BCHW)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        assert self.momentum is not None
        x = x_BCHW.float()
        count = _Sum.apply(x.new_tensor(x.numel() / x.shape[1]))
        mean_C = _Sum.apply(x.sum((0, 2, 3))) / count
        centred = x - mean_C[:, None, None]
        var_C = _Sum.apply(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            self.running_mean.lerp_(mean_C, self.momentum)
            self.running_var.lerp_(var_C * count / (count - 1), self.momentum)
            self.num_batches_tracked += 1
        scale_C = self.weight * torch.rsqrt(var_C + self.eps)
        return (centred * scale_C[:, None, None] + self.bias[:, None, None]).to(x_BCHW.dtype)


def sync_batch_norm(model: nn.Module) -> None:
    """Let every batch normalisation of a model see the whole batch; its weights and their names stay."""
    if world_size() == 1:
        return
    for module in list(model.modules()):
        for name, child in module.named_children():
            if type(child) is nn.BatchNorm2d:
                shared = SyncBatchNorm(child.num_features, child.eps, child.momentum)
                shared.weight, shared.bias = child.weight, child.bias
                for buffer, tensor in child.named_buffers():
                    shared.register_buffer(buffer, tensor)
                setattr(module, name, shared)
