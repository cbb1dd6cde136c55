"""Prevalence: a control that never looks at the face and gives each region its share of the training people.

No article's. Accuracy and calibration of every other row must be read against it; its AUROC is 0.5.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitau.baselines.fitting import check_people, task_frames
from vitau.baselines.method import Budget
from vitau.data.dataset import Crops
from vitau.data.protocols import Task
from vitau.evaluation.subjects import by_subject


@dataclass(frozen=True, kw_only=True, slots=True)
class Prevalence:
    """Return the training people's share of each region for every face."""

    name: str = "prevalence"
    title: str = "Prevalence"
    task: Task = "regions"

    def fit(self, train: Crops, valid: Crops, budget: Budget, *, seed: int) -> "FittedPrevalence":  # noqa: ARG002
        """Count the training people; nothing is chosen on the validation people."""
        return FittedPrevalence(prevalence_A=prevalences(train))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedPrevalence:
    """Shares (8,) of the palsied training people."""

    prevalence_A: NDArray[np.float64]

    def predict(self, crops: Crops) -> NDArray[np.float32]:
        """Return the same 8 shares for each frame, (N, 8)."""
        return np.tile(self.prevalence_A.astype(np.float32), (len(crops), 1))

    @property
    def num_parameters(self) -> int:
        """One share per region."""
        return len(self.prevalence_A)


def prevalences(train: Crops) -> NDArray[np.float64]:
    """Return the share of the labeled palsied people that each region is affected in, (8,) strictly between 0 and 1.

    One affected and one spared person are added to each region (Laplace's rule), so that a region that no training person
    has is rare and not impossible.

    Raises:
        TrainingError: nobody has a label.
    """
    check_people(train, "regions")
    frames = task_frames(train, "regions")
    people = by_subject(frames.subject_N.tolist(), frames.affected_NA, frames.affected_NA, frames.known_NA)
    affected_A = (people.truth_SK & people.known_SK).sum(0)
    return np.asarray((affected_A + 1) / (people.known_SK.sum(0) + 2))
