"""Methods that give features of frames or recordings to an estimator of scikit-learn.

Axes: N frames, U units (frames or recordings), F features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vitau.baselines.fitting import Scores, check_people, draw_items, select
from vitau.baselines.method import Budget
from vitau.baselines.recognition.recordings import Rows, recordings
from vitau.data.dataset import Crops
from vitau.data.protocols import Task
from vitau.errors import TrainingError

Features: TypeAlias = Callable[[Crops, Budget], NDArray[np.floating[Any]]]
Unit: TypeAlias = Literal["frame", "recording"]
Candidate: TypeAlias = Callable[[int, int], Any]
"""(number of features, seed) → estimator of scikit-learn."""

_MOST_FRAMES: Final = 32
_PARAMETERS: Final = ("mean_", "scale_", "components_", "coef_", "intercept_", "dual_coef_", "support_vectors_")


@dataclass(frozen=True, kw_only=True)
class FeatureMethod:
    """A recognition method on fixed features; of several estimators the validation people choose one.

    Frames are drawn as often as a network would see them, up to 32 of each person, the same number of each.

    Attributes:
        name: see :class:`vitau.baselines.method.Method`.
        title: see there.
        features: (crops, budget) → features (U, F).
        unit: what a row of the features is.
        candidates: estimators; of equal ones on the validation people the first is kept.
        task: what it answers.
    """

    name: str
    title: str
    features: Features
    unit: Unit
    candidates: Sequence[Candidate]
    task: Task = "palsy"

    def fit(self, train: Crops, valid: Crops, budget: Budget, *, seed: int) -> "FittedFeatures":
        """Fit every candidate and return the best; without validation people the first.

        Raises:
            TrainingError: a class has no people, or no feature differs between the training people.
        """
        check_people(train, self.task)
        units = unit_rows(train, self.unit)
        first_U = np.array([row_T[0] for row_T in units])
        per_person = min(budget.frames_per_person * budget.epochs, _MOST_FRAMES) if self.unit == "frame" else 1
        drawn = draw_items(train.subject_N[first_U], per_person, np.random.default_rng(seed))
        wanted = np.zeros(len(train), bool)
        wanted[np.concatenate([units[number] for number in np.unique(drawn).tolist()])] = True
        kept, position = train.where(wanted), np.unique(drawn, return_inverse=True)[1]
        feature_UF = self.features(kept, budget)[position]
        column_F = np.flatnonzero(feature_UF.std(0) > 0)
        if not len(column_F):
            raise TrainingError(
                f"no feature of {self.name} differs between the training people: give recordings of several frames"
            )
        valid_UF = self.features(valid, budget) if len(valid) else None
        best: FittedFeatures | None = None
        best_value = -np.inf
        for candidate in self.candidates:
            estimator = candidate(len(column_F), seed)
            estimator.fit(feature_UF[:, column_F], train.palsied_N[first_U[drawn]])
            fitted = FittedFeatures(method=self, estimator=estimator, column_F=column_F, budget=budget)
            value = 0.0 if valid_UF is None else select(fitted.score(valid, valid_UF), valid, self.task)
            if value > best_value:
                best, best_value = fitted, value
        assert best is not None, "there is a candidate, and its value is finite"
        return best


@dataclass(frozen=True, kw_only=True, eq=False)
class FittedFeatures:
    """A fitted estimator with the columns of the features that it uses."""

    method: FeatureMethod
    estimator: Any
    column_F: Rows
    budget: Budget

    def predict(self, crops: Crops) -> Scores:
        """Return the scores (N,) of frames; all frames of a recording have its score if the recording is the unit."""
        if not len(crops):
            return np.zeros(0, np.float32)
        return self.score(crops, self.method.features(crops, self.budget))

    def score(self, crops: Crops, feature_UF: NDArray[Any]) -> Scores:
        """Return the scores (N,) of frames whose features are given."""
        score_N = np.zeros(len(crops), np.float32)
        score_U = probability(self.estimator, feature_UF[:, self.column_F])
        for row_T, score in zip(unit_rows(crops, self.method.unit), score_U.tolist(), strict=True):
            score_N[row_T] = score
        return score_N

    @property
    def num_parameters(self) -> int:
        """Number of fitted numbers, or of nodes of trees."""
        return count_fitted(self.estimator)


def unit_rows(crops: Crops, unit: Unit) -> list[Rows]:
    """Return the rows of each unit, in the order of the features."""
    return recordings(crops) if unit == "recording" else list(np.arange(len(crops))[:, None])


def probability(estimator: Any, feature_UF: NDArray[Any]) -> NDArray[np.float64]:
    """Return the probability of a palsy, or the logistic curve of the decision value where an estimator has none."""
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(feature_UF)[:, 1], np.float64)
    return 1 / (1 + np.exp(-np.asarray(estimator.decision_function(feature_UF), np.float64)))


def count_fitted(estimator: Any) -> int:
    """Return the number of fitted numbers of an estimator or pipeline; of boosted trees, their nodes."""
    if hasattr(estimator, "steps"):
        return sum(count_fitted(step) for _, step in estimator.steps)
    if hasattr(estimator, "estimators_"):
        return sum(int(tree.tree_.node_count) for tree in estimator.estimators_.ravel())
    values = (getattr(estimator, name, None) for name in _PARAMETERS)
    return sum(int(np.size(value)) for value in values if value is not None)
