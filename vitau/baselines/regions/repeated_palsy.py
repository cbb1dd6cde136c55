"""The palsy score repeated eight times: a control that recognizes a palsy and says the same of every region.

No article's. A region method that does not rank better than this within palsied people has learned severity, not regions.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from vitau.baselines.method import Budget, Fitted, Method
from vitau.data.dataset import Crops
from vitau.data.protocols import Task
from vitau.schema import AUS


@dataclass(frozen=True, kw_only=True, slots=True)
class RepeatedPalsy:
    """Return the score of a recognition method for each region.

    Attributes:
        recognition: any method of the task ``palsy``; it trains on the controls too.
    """

    recognition: Method
    name: str = "repeated-palsy"
    title: str = "Palsy score, repeated 8 times"
    task: Task = "regions"

    def __post_init__(self) -> None:
        if self.recognition.task != "palsy":
            raise ValueError(f"{self.recognition.name} finds regions: give a method that recognizes a palsy")

    def fit(self, train: Crops, valid: Crops, budget: Budget, *, seed: int) -> "FittedRepeatedPalsy":
        """Fit the recognition method.

        Raises:
            TrainingError: the training people are of one cohort.
        """
        return FittedRepeatedPalsy(recognition=self.recognition.fit(train, valid, budget, seed=seed))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedRepeatedPalsy:
    """A fitted recognition method."""

    recognition: Fitted

    def predict(self, crops: Crops) -> NDArray[np.float32]:
        """Return the score of each frame for all regions, (N, 8)."""
        return np.repeat(self.recognition.predict(crops)[:, None], len(AUS), axis=1)

    @property
    def num_parameters(self) -> int:
        """Those of the recognition method."""
        return self.recognition.num_parameters
