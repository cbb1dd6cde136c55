"""Windows of frames as training items, and the method whose network sees them.

Axes: N frames, W windows, B windows of a batch, T frames of a window.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from vitau.baselines.fitting import (
    FrameItems,
    History,
    Scores,
    Settings,
    check_people,
    count_parameters,
    predict_items,
    seeded,
    select,
    train_network,
)
from vitau.baselines.method import Budget
from vitau.baselines.recognition.recordings import Rows, recordings, to_frames, windows
from vitau.data.dataset import Crops
from vitau.data.protocols import Task
from vitau.training.tasks import Batch

NUM_FRAMES = 16
"""Frames of a window: 16 at 6 per second."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ClipBatch:
    """B windows: their B·T frames, window by window, and the truth of each window (B,)."""

    frames: Batch
    num_frames: int
    palsied_B: Tensor


class ClipItems:
    """Windows of crops as :class:`ClipBatch`."""

    def __init__(self, crops: Crops, image_px: int, device: str, num_frames: int) -> None:
        self.frames = FrameItems(crops, image_px, device)
        self.row_WT, self.owner_W = windows(crops, num_frames)

    @property
    def subjects(self) -> NDArray[Any]:
        """Pseudonym of each window's person."""
        return self.frames.crops.subject_N[self.row_WT[:, 0]]

    def batch(self, item_B: Rows) -> ClipBatch:
        """Read windows with their labels."""
        row_BT = self.row_WT[item_B]
        frames = self.frames.batch(row_BT.ravel())
        num_frames = row_BT.shape[1]
        return ClipBatch(frames=frames, num_frames=num_frames, palsied_B=frames.palsied_B[::num_frames])


def clip_loss(network: nn.Module, batch: ClipBatch) -> Tensor:
    """Compute the cross-entropy of the two logits of each window; a scalar."""
    return functional.cross_entropy(network(batch), batch.palsied_B.long())


def clip_score(network: nn.Module, batch: ClipBatch) -> Tensor:
    """Compute the probability (B,) of a palsy from the two logits of each window."""
    probability_B2: Tensor = network(batch).softmax(1)
    return probability_B2[:, 1]


@dataclass(frozen=True, kw_only=True)
class ClipMethod:
    """A recognition method whose network maps a :class:`ClipBatch` to two logits per window.

    An epoch draws the budget's frames per person, rounded up to whole windows. A step has as many windows as fit in the
    budget's batch of frames, at least 2.

    Attributes:
        name: see :class:`vitau.baselines.method.Method`.
        title: see there.
        image_px: side of the input, unless the budget has one.
        multiple_px: the side is rounded down to a multiple of it, such as the patches of a transformer.
        build: (budget, side of the input) → network with fresh weights; the seed is set before.
        settings: of the optimizer.
        num_frames: of a window; fewer where no training recording has as many.
        task: what it answers.
    """

    name: str
    title: str
    image_px: int
    build: Callable[[Budget, int], nn.Module]
    settings: Settings = field(default_factory=Settings)
    num_frames: int = NUM_FRAMES
    multiple_px: int = 1
    task: Task = "palsy"

    def fit(self, train: Crops, valid: Crops, budget: Budget, *, seed: int) -> "FittedClips":
        """Train on windows of some people; without validation people the last epoch is kept.

        Raises:
            TrainingError: a class has no people, or the loss is not finite.
        """
        check_people(train, self.task)
        side = (budget.image_px or self.image_px) // self.multiple_px * self.multiple_px
        num_frames = min(self.num_frames, max(map(len, recordings(train))))
        in_windows = replace(budget, batch_size=max(2, budget.batch_size // num_frames))
        with seeded(seed):
            network = self.build(budget, side).to(budget.device)
            fitted = FittedClips(network=network, image_px=side, num_frames=num_frames, budget=in_windows)
            history = train_network(
                network,
                clip_loss,
                ClipItems(train, side, budget.device, num_frames),
                lambda: select(fitted.predict(valid), valid, self.task) if len(valid) else None,
                in_windows,
                self.settings,
                seed=seed,
                per_person=-(-budget.frames_per_person // num_frames),
            )
        return replace(fitted, history=history)


@dataclass(frozen=True, kw_only=True)
class FittedClips:
    """A fitted network that scores windows; all frames of a recording have the mean score of its windows."""

    network: nn.Module
    image_px: int
    num_frames: int
    budget: Budget
    history: History | None = None

    def predict(self, crops: Crops) -> Scores:
        """Return the scores (N,) of frames."""
        items = ClipItems(crops, self.image_px, self.budget.device, self.num_frames)
        score_W = predict_items(self.network, clip_score, items, len(items.row_WT), self.budget.batch_size)
        return to_frames(crops, score_W, items.owner_W)

    @property
    def num_parameters(self) -> int:
        """Number of parameters of the network."""
        return count_parameters(self.network)
