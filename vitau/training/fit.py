"""The training loop of both models: resumable at any step, and the same for one process or several."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vitau.errors import TrainingError
from vitau.training import parallel
from vitau.training.checkpoint import Checkpoint, Epoch, History, Position, State
from vitau.training.config import TrainConfig

BatchT = TypeVar("BatchT")
BatchT_co = TypeVar("BatchT_co", covariant=True)


class Batches(Protocol[BatchT_co]):
    """Training data; the batches of an epoch depend on its number only."""

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""

    def epoch(self, number: int) -> Iterable[BatchT_co]:
        """Yield the batches of an epoch; with several processes, the shard of each batch that is this process's."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Observer:
    """Callbacks of a training, called before the checkpoint: a killed training repeats those since its last checkpoint.

    ``batch`` gets the number of batches done, the number of all batches, and the loss; ``epoch`` gets the finished epoch.
    """

    batch: Callable[[int, int, float], None] = lambda _done, _total, _loss: None
    epoch: Callable[[Epoch], None] = lambda _epoch: None


def fit(
    model: nn.Module,
    objective: Callable[[nn.Module, BatchT], Tensor],
    batches: Batches[BatchT],
    validate: Callable[[nn.Module], dict[str, float]],
    config: TrainConfig,
    checkpoint: Checkpoint,
    observer: Observer | None = None,
) -> History:
    """Train a model with AdamW; it ends in evaluation mode, with the weights of its best epoch.

    The best epoch has the highest ``validation["selection"]``; of equal ones, the first. The checkpoint is written after each
    epoch, and within an epoch every ``config.save_every`` batches. A second call resumes from it. On a processor with the same
    number of threads, the result does not depend on interruptions: each epoch seeds torch from ``config.seed`` and its number,
    and a checkpoint within an epoch holds the random states.

    With several processes (:mod:`vitau.training.parallel`), each of them calls this function and computes its shard of every
    batch. The steps are those of one process with whole batches. The main process validates and writes.

    Args:
        model: trained in place, on the device of its weights.
        objective: (model, batch) → loss, a scalar.
        batches: the training data.
        validate: model → metrics of the validation subjects, "selection" among them. The model is in evaluation mode,
            without gradients.
        config: the settings of the training.
        checkpoint: where the state is written, and the identity of the training.
        observer: callbacks after each batch and each epoch.

    Raises:
        TrainingError: at the first loss that is not finite, or if the checkpoint belongs to another training.
    """
    observer = observer or Observer()
    parallel.sync_batch_norm(model)
    optimizer = adamw(model, config)
    average = moving_average(model, config)
    with parallel.main_process_first():
        state = checkpoint.resume(model, optimizer, average)
    wrapped = parallel.wrap(model)
    gradient_accumulation_steps = config.accumulate
    num_total = config.epochs * len(batches)

    for number in range(len(state.history.epochs), config.epochs):
        model.train()
        remaining, position = start_epoch(batches, number, config.seed, state.position)
        done, total_loss, started = position.done, position.total_loss, time.monotonic() - position.seconds

        while micro_batches := list(islice(remaining, gradient_accumulation_steps)):
            num_before = number * len(batches) + done
            losses = train_step(
                wrapped, objective, micro_batches, optimizer, config, num_before=num_before, num_total=num_total
            )
            if average is not None:
                average.update_parameters(model)
            done, total_loss = done + len(losses), sum(losses, start=total_loss)
            for index, loss in enumerate(losses, start=1):
                observer.batch(num_before + index, num_total, loss)
            if config.save_every and done // config.save_every > (done - len(losses)) // config.save_every:
                seconds = time.monotonic() - started
                position = Position(done=done, total_loss=total_loss, seconds=seconds, random=random_states())
                checkpoint.save(model, optimizer, replace(state, position=position), average)

        evaluated: nn.Module = (model if average is None else average.module).eval()
        with torch.inference_mode():
            validation = parallel.broadcast_from_main(partial(validate, evaluated))
        seconds = time.monotonic() - started
        epoch = Epoch(number=number, train_loss=total_loss / len(batches), validation=validation, seconds=seconds)
        state = add_epoch(state, epoch, evaluated)
        observer.epoch(epoch)
        checkpoint.save(model, optimizer, state, average)

    model.load_state_dict(state.best)
    model.eval()
    return state.history


def train_step(
    model: nn.Module,
    objective: Callable[[nn.Module, BatchT], Tensor],
    micro_batches: Sequence[BatchT],
    optimizer: torch.optim.Optimizer,
    config: TrainConfig,
    *,
    num_before: int,
    num_total: int,
) -> list[float]:
    """Take one optimizer step; the micro-batches have equal weights in its gradient.

    Args:
        model: in training mode, as returned by :func:`vitau.training.parallel.wrap`.
        objective: (model, micro-batch) → loss, a scalar.
        micro_batches: the shards of this process.
        optimizer: of the model's parameters; it leaves no gradients.
        config: precision, learning rate and gradient clipping.
        num_before: batches of the whole training before these.
        num_total: batches of the whole training.

    Returns:
        The loss of each micro-batch, averaged over all processes.

    Raises:
        TrainingError: at the first loss that is not finite, before the weights change.
    """
    losses: list[float] = []
    for index, micro_batch in enumerate(micro_batches):
        is_last = index == len(micro_batches) - 1
        with nullcontext() if is_last else parallel.no_gradient_sync(model):
            with autocast(model, config):
                loss = objective(model, micro_batch)
            (loss / len(micro_batches)).backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        losses.append(parallel.all_reduce_mean(loss))
        check_finite(losses[-1], num_before + index, num_total, config)

    set_learning_rate(optimizer, learning_rate(config, num_before + len(micro_batches) - 1, num_total))
    nn.utils.clip_grad_norm_(model.parameters(), config.grad_clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)
    return losses


def start_epoch(
    batches: Batches[BatchT], number: int, seed: int, position: Position | None
) -> tuple[Iterator[BatchT], Position]:
    """Return the batches of an epoch that are left, and the position before them.

    Without a ``position`` the epoch begins. With one, the batches before it are made again, so that their order continues, but
    not computed.
    """
    torch.manual_seed((seed * 100_003 + number) * 1009 + parallel.rank())
    remaining = iter(batches.epoch(number))
    if position is None:
        return remaining, Position(done=0, total_loss=0.0, seconds=0.0, random={})
    deque(islice(remaining, position.done), maxlen=0)
    set_random_states(position.random)
    return remaining, position


def add_epoch(state: State, epoch: Epoch, model: nn.Module) -> State:
    """Return the state after an epoch; the model's weights become the best ones if its selection is the highest so far."""
    history = replace(state.history, epochs=(*state.history.epochs, epoch))
    best = history.best
    if best is None or epoch.validation["selection"] > history.epochs[best].validation["selection"]:
        return State(history=replace(history, best=epoch.number), best=copy_state(model))
    return State(history=history, best=state.best)


def check_finite(loss: float, index: int, num_total: int, config: TrainConfig) -> None:
    """Raise :class:`TrainingError` if the loss of a batch, counted from 0, is not finite."""
    if not math.isfinite(loss):
        epoch = index * config.epochs // num_total
        raise TrainingError(
            f"the loss is {loss} at step {index + 1} (epoch {epoch + 1}): "
            f"lower the learning rate of {config.lr:g} or the gradient clipping at {config.grad_clip:g}"
        )


def adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Build the optimizer; fused, it updates all weights in one call, which saves a tenth of a tiny model's step."""
    return torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)


def moving_average(model: nn.Module, config: TrainConfig) -> AveragedModel | None:
    """Build the exponential moving average of a model's weights and buffers, if one is configured."""
    if not config.ema:
        return None
    ema = get_ema_multi_avg_fn(config.ema)  # type: ignore[no-untyped-call]  # torch leaves it without types
    return AveragedModel(model, multi_avg_fn=ema, use_buffers=True)


def autocast(model: nn.Module, config: TrainConfig) -> torch.autocast:
    """Return a context of the configured precision; bfloat16 needs a GPU that supports it, and is ignored elsewhere."""
    device = next(model.parameters()).device.type
    enabled = config.precision == "bfloat16" and device == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device, dtype=torch.bfloat16, enabled=enabled)


def learning_rate(config: TrainConfig, index: int, num_total: int) -> float:
    """Compute the learning rate at a batch, counted from 0: a linear warm-up, then constant or half a cosine down to 0."""
    warmup = config.warmup * num_total
    if index < warmup:
        return config.lr * (index + 1) / (warmup + 1)
    if config.schedule == "constant":
        return config.lr
    return config.lr * (1 + math.cos(math.pi * (index - warmup) / max(1.0, num_total - warmup))) / 2


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the learning rate of all parameters."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def copy_state(model: nn.Module) -> dict[str, Tensor]:
    """Copy a model's weights and buffers."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def random_states() -> dict[str, Tensor]:
    """Return the states of torch's generators of all processes, on the processor and on the GPU in use."""
    own = {f"cpu {parallel.rank()}": torch.get_rng_state()}
    if torch.cuda.is_available():
        own[f"cuda {parallel.rank()}"] = torch.cuda.get_rng_state()
    return parallel.all_gather(own)


def set_random_states(states: dict[str, Tensor]) -> None:
    """Set torch's generators to what :func:`random_states` returned; a generator without a saved state keeps its own."""
    if f"cpu {parallel.rank()}" in states:
        torch.set_rng_state(states[f"cpu {parallel.rank()}"])
    if torch.cuda.is_available() and f"cuda {parallel.rank()}" in states:
        torch.cuda.set_rng_state(states[f"cuda {parallel.rank()}"])
