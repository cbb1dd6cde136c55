"""FNPA-RCELM-CCNN-style: gradients of face, eyes and mouth, classified by a semi-supervised extreme learning machine.

X. Y. Tan, J. Yang, J. W. Cao, *Facial nerve paralysis assessment based on regularized correntropy criterion SSELM and cascade
CNN*, Asilomar Conference on Signals, Systems, and Computers, 2021.

The authors': a cascade of networks finds the face, features of face, eyes and mouth, the machine of
:mod:`vitau.baselines.recognition.landmarks.correntropy`. Ours: the stored landmarks in place of the cascade; histograms of
oriented gradients as features; the frames of the validation people are the unlabeled rows, and their labels choose C.

Axes: N frames, F features.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Final

import cv2
import numpy as np
from numpy.typing import NDArray

from vitau.baselines.fitting import Scores, check_people, draw_items, select
from vitau.baselines.method import Budget
from vitau.baselines.recognition.landmarks.correntropy import Machine, MachineSettings, fit_machine
from vitau.data.dataset import Crops
from vitau.data.protocols import Task
from vitau.schema import CROP_SIZE

_PARTS: Final = ((range(68), (64, 64)), ((*range(17, 27), *range(36, 48)), (64, 32)), (range(48, 68), (64, 32)))
"""Landmarks of face, eyes with brows, and mouth; width and height of their crops, px."""
_MARGIN: Final = 0.15
_CELL: Final = 8
_BINS: Final = 9
_MOST_FRAMES: Final = 16
_WEIGHTS: Final = (1.0, 0.01, 100.0)


@dataclass(frozen=True, kw_only=True)
class FnpaRcelm:
    """The method; of three weights C the validation people choose one, the first of equal ones."""

    settings: MachineSettings = field(default_factory=MachineSettings)
    weights: Sequence[float] = _WEIGHTS
    name: str = "fnpa-rcelm-ccnn"
    title: str = "FNPA-RCELM-CCNN-style"
    task: Task = "palsy"

    def fit(self, train: Crops, valid: Crops, budget: Budget, *, seed: int) -> "FittedMachine":
        """Fit the machine to up to 16 frames of each person, the same number of each.

        Raises:
            TrainingError: a class has no people.
        """
        check_people(train, self.task)
        rng = np.random.default_rng(seed)
        per_person = min(budget.frames_per_person * budget.epochs, _MOST_FRAMES)
        row_N = draw_items(train.subject_N, per_person, rng)
        labeled_NF = gradient_features(train, row_N)
        other_N = draw_items(valid.subject_N, per_person, rng) if len(valid) else np.zeros(0, np.int64)
        unlabeled_NF = gradient_features(valid, other_N)
        best: FittedMachine | None = None
        best_value = -np.inf
        for c in self.weights:
            settings = replace(self.settings, hidden=max(8, round(self.settings.hidden * budget.width)), c=c)
            fitted = FittedMachine(machine=fit_machine(labeled_NF, train.palsied_N[row_N], unlabeled_NF, settings, seed))
            value = select(fitted.predict(valid), valid, self.task) if len(valid) else 0.0
            if value > best_value:
                best, best_value = fitted, value
        assert best is not None, "there is a weight, and its value is finite"
        return best


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedMachine:
    """A fitted machine on the gradients of frames."""

    machine: Machine

    def predict(self, crops: Crops) -> Scores:
        """Return the scores (N,) of frames: the output from −1 to 1 as 0 to 1."""
        if not len(crops):
            return np.zeros(0, np.float32)
        decision_N = self.machine.decide(gradient_features(crops, np.arange(len(crops))))
        return ((decision_N + 1) / 2).clip(0, 1).astype(np.float32)

    @property
    def num_parameters(self) -> int:
        """Number of fitted numbers of the output; the hidden layer is random."""
        return int(self.machine.beta_H.size)


def gradient_features(crops: Crops, row_N: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return the histograms of oriented gradients of face, eyes and mouth of some frames, (N, 3276)."""
    features = [_features_of(crops.pixels(slice(row, row + 1))[0], crops.landmarks_NL2[row]) for row in row_N.tolist()]
    width = sum(_descriptor(size).getDescriptorSize() for _, size in _PARTS)
    return np.stack(features) if features else np.zeros((0, width), np.float32)


def part_box(points_L2: NDArray[Any], side: int) -> tuple[int, int, int, int]:
    """Return left, top, right and bottom of landmarks with a margin of 15 %, px of an image; at least 2 px each way.

    Args:
        points_L2: px of a crop of 256.
        side: of the image.
    """
    low_2, high_2 = points_L2.min(0) * side / CROP_SIZE, points_L2.max(0) * side / CROP_SIZE
    margin_2 = _MARGIN * (high_2 - low_2)
    left, top = np.clip(np.floor(low_2 - margin_2), 0, side - 2).astype(int).tolist()
    right, bottom = np.clip(np.ceil(high_2 + margin_2), (left + 2, top + 2), side).astype(int).tolist()
    return left, top, right, bottom


def _features_of(pixels: NDArray[np.uint8], points_L2: NDArray[Any]) -> NDArray[np.float32]:
    gray = cv2.cvtColor(np.ascontiguousarray(pixels), cv2.COLOR_RGB2GRAY)
    parts = []
    for landmarks, size in _PARTS:
        left, top, right, bottom = part_box(points_L2[list(landmarks)], len(pixels))
        part = cv2.resize(gray[top:bottom, left:right], size, interpolation=cv2.INTER_AREA)
        parts.append(_descriptor(size).compute(part).ravel())
    return np.concatenate(parts)


@lru_cache(maxsize=4)
def _descriptor(size: tuple[int, int]) -> Any:
    return cv2.HOGDescriptor(size, (2 * _CELL, 2 * _CELL), (_CELL, _CELL), (_CELL, _CELL), _BINS)
