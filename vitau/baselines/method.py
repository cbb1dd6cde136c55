"""The interface of comparison methods: fitted on the frames of people, they predict other people's frames."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from vitau.data.dataset import Crops
from vitau.data.protocols import Task


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """The training budget that all methods of a table share.

    Attributes:
        epochs: passes over the training frames; a passed epoch counts for methods that train by gradients.
        batch_size: frames, or clips, per step.
        image_px: side of the input image; ``None`` is the size that the article states.
        width: factor of the channels of networks, those of a library too; the two MobileNets keep theirs.
        lr_factor: factor of the learning rates that articles state: a small budget has few steps. Rates that are ours stay.
        frames_per_person: frames drawn per person and epoch, so that a long clip does not weigh as much as many patients.
        device: of torch, such as ``cpu`` or ``cuda``.
    """

    epochs: int
    batch_size: int = 16
    image_px: int | None = None
    width: float = 1.0
    lr_factor: float = 1.0
    frames_per_person: int = 4
    device: str = "cpu"


class Fitted(Protocol):
    """A method after its training."""

    def predict(self, crops: Crops) -> NDArray[np.float32]:
        """Return a score per frame, (N,) for recognition or (N, 8) for regions; larger means more surely palsied.

        A method that judges clips gives all frames of a clip the score of the clip.
        """

    @property
    def num_parameters(self) -> int:
        """Number of fitted parameters."""


class Method(Protocol):
    """One row of a table. The module of a method names the article, and what is the authors' and what is ours."""

    @property
    def name(self) -> str:
        """Short name in files and commands, such as ``vgg16``."""

    @property
    def title(self) -> str:
        """Name in tables, as in the paper; "-style" where it is not the authors' exact network."""

    @property
    def task(self) -> Task:
        """The question that it answers: ``palsy`` or ``regions``."""

    def fit(self, train: Crops, valid: Crops, budget: Budget, *, seed: int) -> Fitted:
        """Train on some people; the epoch is chosen on the validation people.

        Args:
            train: frames of the training people.
            valid: frames of other people.
            budget: of all methods.
            seed: of weights and batches; the same seed gives the same result on the same machine.

        Raises:
            TrainingError: a class has no people.
        """
