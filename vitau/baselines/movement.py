"""The weights of :mod:`vitau.asymmetry` as a comparison method: of recognition, or of regions.

No article's. Ours: a person's features compare the halves of the face over all frames. The weights start from those that drawn
people taught, as ViTAU's recipes start from a pretraining on drawn people. How far the training people may move them is chosen
on the validation people.

Axes: N frames, P people.
"""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitau.asymmetry.model import STRENGTH, Answers, AsymmetryModel, fit_model
from vitau.asymmetry.people import FeatureCache, people_of
from vitau.asymmetry.weights import load_weights
from vitau.baselines.fitting import check_people, select
from vitau.baselines.method import Budget
from vitau.data.dataset import Crops
from vitau.data.protocols import Task

_STRENGTHS: Final = (STRENGTH, 10.0, 100.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Movement:
    """The model of asymmetric movement.

    Attributes:
        task: what of its answers is given.
        prior: weights to start from; by default those of the package.
        features: of people that were measured before, so that the folds of a table measure everybody once.
    """

    task: Task
    prior: AsymmetryModel | None = None
    name: str = "movement"
    title: str = "Movement features"
    features: FeatureCache = field(default_factory=FeatureCache)

    def fit(self, train: Crops, valid: Crops, budget: Budget, *, seed: int) -> "FittedMovement":  # noqa: ARG002 - the interface
        """Fit the weights to all frames of the training people; without validation people by the usual strength.

        Raises:
            TrainingError: a class has no people.
        """
        check_people(train, self.task)
        check_people(train, "palsy")
        people, prior = people_of(train, self.features), self.prior or load_weights()
        fitted = [
            FittedMovement(task=self.task, model=fit_model(people, prior, strength=strength), features=self.features)
            for strength in _STRENGTHS
        ]
        if not len(valid):
            return fitted[0]
        return max(fitted, key=lambda one: select(one.predict(valid), valid, self.task))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class FittedMovement:
    """Fitted weights."""

    task: Task
    model: AsymmetryModel
    features: FeatureCache

    def predict(self, crops: Crops) -> NDArray[np.float32]:
        """Return the scores (N,) or (N, 8); all frames of a person have those of the person."""
        people = people_of(crops, self.features)
        answers: Answers = self.model.answer(people.feature_PF)
        score_P = answers.palsy_P if self.task == "palsy" else answers.affected_PA
        return score_P[np.searchsorted(people.subject_P, crops.subject_N)].astype(np.float32)

    @property
    def num_parameters(self) -> int:
        """Number of weights and biases of the task."""
        odds = [self.model.palsy] if self.task == "palsy" else self.model.regions
        return sum(np.count_nonzero(one.weight_F) + 1 for one in (self.model.side, *odds)) - 1
