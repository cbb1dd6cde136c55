"""The loop that trains both models: readable from top to bottom, stopped at any moment, resumed exactly where it was."""

import math
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
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
    """Training data: the same batches for the same epoch, whatever was drawn before."""

    def __len__(self) -> int:
        """Count the batches of an epoch."""

    def epoch(self, number: int) -> Iterable[BatchT_co]:
        """Go through the batches of one epoch; of several processes, through this one's shares of them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Watcher:
    """Who is told: after each batch, the batches done of all and the loss; after each epoch, what it came to.

    What is told is kept afterwards, so a training that was killed between tells its last batch or epoch again.
    """

    step: Callable[[int, int, float], None] = lambda _done, _all, _loss: None
    epoch: Callable[[Epoch], None] = lambda _epoch: None


def fit(
    model: nn.Module,
    objective: Callable[[nn.Module, BatchT], Tensor],
    batches: Batches[BatchT],
    validate: Callable[[nn.Module], dict[str, float]],
    config: TrainConfig,
    checkpoint: Checkpoint,
    watcher: Watcher | None = None,
) -> History:
    """Train a model with AdamW and leave it, in evaluation mode, with the weights of its best epoch.

    The best epoch is the one whose ``validation["selection"]`` is highest. After each epoch, and within one as
    ``config.save_every`` says, everything needed to go on is in the checkpoint; called again, it goes on from there. On a
    processor with the same number of threads the result does not depend on interruptions: every epoch seeds torch anew from
    ``config.seed`` and its number, and within an epoch the random states are kept.

    Where several processes train together (:mod:`vitau.training.parallel`), all of them call this; each computes its share of
    every batch, and they take the steps of one process that computes whole batches. The first one judges and keeps.

    Args:
        model: trained in place, on the device where its weights are.
        objective: (model, batch) → loss, a scalar.
        batches: of each epoch.
        validate: numbers of validation people, "selection" among them; called in evaluation mode, without gradients.
        config: how to train.
        checkpoint: where the state is kept, and of which training it is.
        watcher: who is told.

    Raises:
        TrainingError: at the first loss that is not finite, or where the checkpoint is of another training.
    """
    watcher = watcher or Watcher()
    parallel.share_statistics(model)
    optimizer = adamw(model, config)
    average = averaged(model, config)
    with parallel.first_goes_first():
        state = checkpoint.resume(model, optimizer, average)
    history, best, position = state.history, state.best, state.position
    trained = parallel.wrap(model)
    steps = config.epochs * len(batches)
    for number in range(len(history.epochs), config.epochs):
        model.train()
        places, total, seconds = _go_on(batches, number, config.seed, position)
        started, position = time.monotonic() - seconds, None
        for place, batch in places:
            step = number * len(batches) + place
            first, last = accumulated(place, len(batches), config)
            with nullcontext() if place == last else parallel.without_averaging(trained):
                with autocast(model, config):
                    loss = objective(trained, batch)
                (loss / (last - first + 1)).backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
            loss_of_all = parallel.averaged_over_processes(loss)
            _stop_if_not_finite(loss_of_all, step, number, config)
            total += loss_of_all
            if place == last:
                take_step(optimizer, model, learning_rate(config, step, steps), config.grad_clip)
                if average is not None:
                    average.update_parameters(model)
            watcher.step(step + 1, steps, loss_of_all)
            if config.save_every and place == last and (last + 1) // config.save_every > first // config.save_every:
                here = Position(done=place + 1, total_loss=total, seconds=time.monotonic() - started, random=random_states())
                checkpoint.save(model, optimizer, State(history=history, best=best, position=here), average)
        judged: nn.Module = (model if average is None else average.module).eval()
        with torch.inference_mode():
            validation = parallel.from_first(lambda judged=judged: validate(judged))  # type: ignore[misc]
        epoch = Epoch(
            number=number,
            train_loss=total / len(batches),
            validation=validation,
            seconds=time.monotonic() - started,
        )
        if history.best is None or validation["selection"] > history.epochs[history.best].validation["selection"]:
            history, best = replace(history, best=number), copy_state(judged)
        history = replace(history, epochs=(*history.epochs, epoch))
        watcher.epoch(epoch)
        checkpoint.save(model, optimizer, State(history=history, best=best), average)
    model.load_state_dict(best)
    model.eval()
    return history


def adamw(model: nn.Module, config: TrainConfig) -> torch.optim.AdamW:
    """Make the optimizer; fused, it goes over all weights in one call: a step of the tiny models takes a tenth less time."""
    return torch.optim.AdamW(model.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=True)


def accumulated(place: int, num_batches: int, config: TrainConfig) -> tuple[int, int]:
    """Find the first and the last of the batches that make one step together with the one at ``place``."""
    first = place - place % config.accumulate
    return first, min(first + config.accumulate, num_batches) - 1


def take_step(optimizer: torch.optim.Optimizer, model: nn.Module, lr: float, grad_clip: float) -> None:
    """Clip the gradients by their norm, step with a learning rate, and leave no gradient."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    nn.utils.clip_grad_norm_(model.parameters(), grad_clip)
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def random_states() -> dict[str, Tensor]:
    """Read the states of torch's generators, of the processor and of the GPU in use, of all processes."""
    own = {f"cpu {parallel.rank()}": torch.get_rng_state()}
    if torch.cuda.is_available():
        own[f"cuda {parallel.rank()}"] = torch.cuda.get_rng_state()
    return parallel.gathered(own)


def set_random_states(states: dict[str, Tensor]) -> None:
    """Set torch's generators as :func:`random_states` read them; where there are others now, they stay as they are."""
    if f"cpu {parallel.rank()}" in states:
        torch.set_rng_state(states[f"cpu {parallel.rank()}"])
    if torch.cuda.is_available() and f"cuda {parallel.rank()}" in states:
        torch.cuda.set_rng_state(states[f"cuda {parallel.rank()}"])


def averaged(model: nn.Module, config: TrainConfig) -> AveragedModel | None:
    """Make the exponential moving average of a model's weights and buffers, if one is configured."""
    if not config.ema:
        return None
    moving = get_ema_multi_avg_fn(config.ema)  # type: ignore[no-untyped-call]  # torch leaves it without types
    return AveragedModel(model, multi_avg_fn=moving, use_buffers=True)


def autocast(model: nn.Module, config: TrainConfig) -> torch.autocast:
    """Compute in the configured precision where the model's device has it: bfloat16 needs a GPU that knows it."""
    device = next(model.parameters()).device.type
    wanted = config.precision == "bfloat16" and device == "cuda" and torch.cuda.is_bf16_supported()
    return torch.autocast(device, dtype=torch.bfloat16, enabled=wanted)


def copy_state(model: nn.Module) -> dict[str, Tensor]:
    """Copy a model's weights and buffers."""
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Compute the learning rate of a step: a linear rise over the warm-up, then constant or half a cosine down to 0."""
    warmup = config.warmup * steps
    if step < warmup:
        return config.lr * (step + 1) / (warmup + 1)
    if config.schedule == "constant":
        return config.lr
    return config.lr * (1 + math.cos(math.pi * (step - warmup) / max(1.0, steps - warmup))) / 2


def _go_on(
    batches: Batches[BatchT], number: int, seed: int, position: Position | None
) -> tuple[Iterator[tuple[int, BatchT]], float, float]:
    """Start an epoch, or go on within it: the batches left with their places, the loss and the seconds so far."""
    torch.manual_seed((seed * 100_003 + number) * 1009 + parallel.rank())
    places = enumerate(batches.epoch(number))
    if position is None:
        return places, 0.0, 0.0
    deque(islice(places, position.done), maxlen=0)  # made again, so that their order goes on, but not computed
    set_random_states(position.random)
    return places, position.total_loss, position.seconds


def _stop_if_not_finite(loss: float, step: int, number: int, config: TrainConfig) -> None:
    if not math.isfinite(loss):
        raise TrainingError(
            f"the loss is {loss} at step {step + 1} (epoch {number + 1}): "
            f"lower the learning rate of {config.lr:g} or the gradient clipping at {config.grad_clip:g}"
        )
