"""The training loop of comparison methods: person-balanced batches, and the best epoch on the validation people.

Axes: N frames, I items (frames or clips) of the training people, B of a batch, A regions.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Generic, Literal, Protocol, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vitau.baselines.method import Budget
from vitau.data.dataset import Crops
from vitau.data.protocols import Task
from vitau.errors import TrainingError
from vitau.evaluation.subjects import by_subject
from vitau.models.inputs import to_device, to_input
from vitau.training.fit import copy_state
from vitau.training.tasks import Batch

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]
BatchT_co = TypeVar("BatchT_co", covariant=True)
BatchT = TypeVar("BatchT")


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """Optimizer settings of a method's own article; the budget sets epochs and batches.

    Attributes:
        lr: learning rate.
        weight_decay: of the optimizer; AdamW's is decoupled.
        optimizer: ``sgd`` has a momentum of 0.9.
        schedule: of the learning rate; ``cosine`` falls to 0 at the last step.
        grad_clip: largest norm of the gradient; ``None`` clips nothing.
        own_lr: the rate is ours, chosen for fresh weights, and a budget does not change it.
    """

    lr: float = 1e-4
    weight_decay: float = 5e-4
    optimizer: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["constant", "cosine"] = "constant"
    grad_clip: float | None = 1.0
    own_lr: bool = False

    def under(self, budget: Budget) -> "Settings":
        """Return the settings with the learning rate under a budget."""
        return self if self.own_lr else replace(self, lr=self.lr * budget.lr_factor)


@dataclass(frozen=True, kw_only=True, slots=True)
class History:
    """Mean training loss and selection value per epoch, and the number of the epoch whose weights were kept."""

    losses: tuple[float, ...]
    selections: tuple[float | None, ...]
    best: int


class Items(Protocol[BatchT_co]):
    """Training items, such as frames or clips, that are read in batches."""

    @property
    def subjects(self) -> NDArray[Any]:
        """Pseudonym of each item's person, (I,)."""

    def batch(self, item_B: Rows) -> BatchT_co:
        """Read items by their numbers."""


class FrameItems:
    """Single frames of crops as :class:`vitau.training.tasks.Batch`, with input in [−1, 1] on a device."""

    def __init__(self, crops: Crops, image_px: int, device: str) -> None:
        self.crops, self.image_px, self.device = crops, image_px, torch.device(device)
        self.person_N = np.unique(crops.subject_N, return_inverse=True)[1]

    @property
    def subjects(self) -> NDArray[Any]:
        """Pseudonym of each frame's person."""
        return self.crops.subject_N

    def batch(self, item_B: Rows) -> Batch:
        """Read frames with their labels."""

        def read(values_N: NDArray[Any]) -> Tensor:
            return to_device(values_N[item_B], self.device)

        pixels = to_device(self.crops.pixels(item_B), self.device)
        return Batch(
            crop_BCHW=to_input(pixels, self.image_px),
            landmarks_BL2=read(self.crops.landmarks_NL2),
            palsied_B=read(self.crops.palsied_N),
            affected_BA=read(self.crops.affected_NA),
            known_BA=read(self.crops.known_NA),
            sided_BA2=read(self.crops.sided_NA2),
            person_B=read(self.person_N),
        )


@dataclass(frozen=True, kw_only=True)
class FrameMethod:
    """A method whose network scores single frames; it keeps the weights of the epoch that is best on the validation people.

    Region methods train on palsied people with labels only.

    Attributes:
        name: see :class:`vitau.baselines.method.Method`.
        title: see there.
        task: chooses the training frames and the selection value.
        image_px: side of the input, unless the budget has one.
        multiple_px: the side is rounded down to ``least_px`` plus a multiple of it, such as the patches of a transformer.
        least_px: the smallest side that the layers take.
        build: (budget, side of the input) → network with fresh weights; the seed is set before.
        objective: (network in training mode, batch) → loss, a scalar.
        read: (network in evaluation mode, batch) → scores in [0, 1], (B,) for recognition or (B, 8) for regions.
        settings: of the optimizer.
    """

    name: str
    title: str
    task: Task
    image_px: int
    build: Callable[[Budget, int], nn.Module]
    objective: Callable[[nn.Module, Batch], Tensor]
    read: Callable[[nn.Module, Batch], Tensor]
    settings: Settings = field(default_factory=Settings)
    multiple_px: int = 1
    least_px: int = 0

    def fit(self, train: Crops, valid: Crops, budget: Budget, *, seed: int) -> "FittedFrames":
        """Train on some people; without validation people the last epoch is kept.

        Raises:
            TrainingError: a class has no people, or the loss is not finite.
        """
        check_people(train, self.task)
        train, valid = task_frames(train, self.task), task_frames(valid, self.task)
        above_px = max(0, (budget.image_px or self.image_px) - self.least_px)
        side = self.least_px + above_px // self.multiple_px * self.multiple_px
        with seeded(seed):
            network = self.build(budget, side).to(budget.device)
            fitted = FittedFrames(network=network, read=self.read, image_px=side, budget=budget)
            history = train_network(
                network,
                self.objective,
                FrameItems(train, side, budget.device),
                lambda: select(fitted.predict(valid), valid, self.task) if len(valid) else None,
                budget,
                self.settings,
                seed=seed,
            )
        return replace(fitted, history=history)


@dataclass(frozen=True, kw_only=True)
class FittedFrames:
    """A fitted network that scores single frames; see :class:`FrameMethod`."""

    network: nn.Module
    read: Callable[[nn.Module, Batch], Tensor]
    image_px: int
    budget: Budget
    history: History | None = None

    def predict(self, crops: Crops) -> Scores:
        """Return the scores (N,) or (N, 8) of frames."""
        items = FrameItems(crops, self.image_px, self.budget.device)
        return predict_items(self.network, self.read, items, len(crops), self.budget.batch_size)

    @property
    def num_parameters(self) -> int:
        """Number of parameters of the network."""
        return count_parameters(self.network)


@dataclass(frozen=True, kw_only=True)
class _Loop(Generic[BatchT]):
    """The constants of one training."""

    network: nn.Module
    objective: Callable[[nn.Module, BatchT], Tensor]
    items: Items[BatchT]
    optimizer: torch.optim.Optimizer
    settings: Settings


def train_network(
    network: nn.Module,
    objective: Callable[[nn.Module, BatchT], Tensor],
    items: Items[BatchT],
    selection: Callable[[], float | None],
    budget: Budget,
    settings: Settings,
    *,
    seed: int,
    per_person: int | None = None,
) -> History:
    """Train a network; it ends in evaluation mode with the weights of its best epoch.

    Every epoch draws the same number of items of each person. Call it within :func:`seeded` for a repeatable result.

    Args:
        network: trained in place, on the device of its weights.
        objective: (network, batch) → loss, a scalar.
        items: the training items.
        selection: value of the network on the validation people, higher is better; of equal epochs the first is kept. The
            network is in evaluation mode, without gradients. ``None`` keeps the newest epoch.
        budget: epochs and batches.
        settings: of the optimizer.
        seed: of the order of the items.
        per_person: items per person and epoch; by default the budget's frames per person.

    Raises:
        TrainingError: the loss is not finite.
    """
    settings = settings.under(budget)
    loop = _Loop(network=network, objective=objective, items=items, optimizer=_optimizer(network, settings), settings=settings)
    losses: list[float] = []
    selections: list[float | None] = []
    best, best_state = 0, copy_state(network)
    for epoch in range(budget.epochs):
        network.train()
        losses.append(_train_epoch(loop, epoch, budget, seed, per_person or budget.frames_per_person))
        network.eval()
        with torch.no_grad():
            value = selection()
        earlier = [other for other in selections if other is not None]
        selections.append(value)
        if value is None or not earlier or value > max(earlier):
            best, best_state = epoch, copy_state(network)
    network.load_state_dict(best_state)
    network.eval()
    return History(losses=tuple(losses), selections=tuple(selections), best=best)


def _train_epoch(loop: _Loop[BatchT], epoch: int, budget: Budget, seed: int, per_person: int) -> float:
    order_I = draw_items(loop.items.subjects, per_person, np.random.default_rng([seed, epoch]))
    batches = np.array_split(order_I, math.ceil(len(order_I) / budget.batch_size))
    total = 0.0
    for number, item_B in enumerate(batches):
        step = epoch * len(batches) + number
        loss = loop.objective(loop.network, loop.items.batch(item_B))
        value = loss.item()
        if not math.isfinite(value):
            raise TrainingError(
                f"the loss is {value} at step {step + 1} (epoch {epoch + 1}): lower the learning rate of {loop.settings.lr:g}"
            )
        loop.optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it without types
        if loop.settings.schedule == "cosine":
            share = step / (budget.epochs * len(batches))
            for group in loop.optimizer.param_groups:
                group["lr"] = loop.settings.lr * (1 + math.cos(math.pi * share)) / 2
        if loop.settings.grad_clip is not None:
            nn.utils.clip_grad_norm_(loop.network.parameters(), loop.settings.grad_clip)
        loop.optimizer.step()
        total += value
    return total / len(batches)


def predict_items(
    network: nn.Module, read: Callable[[nn.Module, BatchT], Tensor], items: Items[BatchT], num_items: int, batch_size: int
) -> Scores:
    """Return the scores of items, in their order, with the network in evaluation mode; no item gives an empty array."""
    network.eval()
    parts = []
    with torch.no_grad():
        for start in range(0, num_items, batch_size):
            batch = items.batch(np.arange(start, min(start + batch_size, num_items)))
            parts.append(read(network, batch).float().cpu().numpy())
    return np.concatenate(parts) if parts else np.zeros(0, np.float32)


def draw_items(subject_I: NDArray[Any], per_person: int, rng: np.random.Generator) -> Rows:
    """Return item numbers in random order, ``per_person`` of each person; a person with fewer items repeats them evenly."""
    drawn = []
    for subject in np.unique(subject_I):
        own = np.flatnonzero(subject_I == subject)
        rounds = [rng.permutation(own) for _ in range(math.ceil(per_person / len(own)))]
        drawn.append(np.concatenate(rounds)[:per_person])
    return rng.permutation(np.concatenate(drawn))


def select(scores: Scores, crops: Crops, task: Task) -> float:
    """Compute the selection value of scores in [0, 1] on validation people: AUROC less Brier score, by person.

    For regions both are means over the regions with a known label; a region in which all people are alike counts as 0.5.
    """
    truth = crops.palsied_N if task == "palsy" else crops.affected_NA
    people = by_subject(crops.subject_N.tolist(), truth, scores, None if task == "palsy" else crops.known_NA)
    values = []
    for column in range(people.truth_SK.shape[1]):
        mask_S = people.known_SK[:, column]
        if mask_S.any():
            values.append(_auroc_less_brier(people.truth_SK[mask_S, column], people.score_SK[mask_S, column]))
    return float(np.mean(values)) if values else 0.0


def _auroc_less_brier(truth_S: NDArray[np.bool_], score_S: NDArray[np.float64]) -> float:
    brier = float(np.mean((score_S - truth_S) ** 2))
    if truth_S.all() or not truth_S.any():
        return 0.5 - brier
    difference = score_S[truth_S][:, None] - score_S[~truth_S]
    return float(np.mean((difference > 0) + 0.5 * (difference == 0))) - brier


def task_frames(crops: Crops, task: Task) -> Crops:
    """Return the frames that a task learns from: all, or for regions those of palsied people with a label."""
    return crops.where(crops.palsied_N & crops.known_NA.any(1)) if task == "regions" else crops


def check_people(train: Crops, task: Task) -> None:
    """Check that the training people can teach the task.

    Raises:
        TrainingError: recognition lacks palsied people or controls, or regions lack palsied people with labels.
    """
    if task == "regions" and not len(task_frames(train, task)):
        raise TrainingError("no palsied person of the training people has a label of a region: label some")
    if task == "palsy" and len(np.unique(train.palsied_N)) < 2:
        present = "no people" if not len(train) else "only palsied people" if train.palsied_N[0] else "only controls"
        raise TrainingError(f"the training people are {present}, and recognition needs palsied people and controls: add some")


def count_parameters(network: nn.Module) -> int:
    """Return the number of parameters of a network."""
    return sum(parameter.numel() for parameter in network.parameters())


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch inside the block, and restore its random state afterwards."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def _optimizer(network: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    parameters = [parameter for parameter in network.parameters() if parameter.requires_grad]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, lr=settings.lr, momentum=0.9, weight_decay=settings.weight_decay)
    return torch.optim.AdamW(parameters, lr=settings.lr, weight_decay=settings.weight_decay)
