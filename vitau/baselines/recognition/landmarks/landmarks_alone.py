"""Landmarks alone, a control that the paper leaves out: a logistic regression on the 68 points of a frame.

No article. Ours: roll is removed, distances are divided by that between the eyes, coordinates are standardized. The weight of
the penalty is chosen on the validation people. The leak-free reference for landmarks on YFP and CK+ is an F1 of 67.8 (arXiv
2503.10371).
"""

from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vitau.baselines.method import Budget
from vitau.baselines.recognition.landmarks.estimators import FeatureMethod
from vitau.data.dataset import Crops
from vitau.measures.geometry import upright

_PENALTIES: Final = (1.0, 0.1, 0.01)


def landmarks_alone() -> FeatureMethod:
    """Return the method."""
    return FeatureMethod(
        name="landmarks",
        title="Landmarks alone",
        features=coordinates,
        unit="frame",
        candidates=[partial(logistic, penalty) for penalty in _PENALTIES],
    )


def coordinates(crops: Crops, _budget: Budget) -> NDArray[np.float64]:
    """Return the upright coordinates (N, 136) of all frames."""
    return upright(crops.landmarks_NL2).reshape(len(crops), -1)


def logistic(c: float, _num_features: int, _seed: int) -> Any:
    """Build a standardized logistic regression; a smaller ``c`` is a stronger penalty."""
    return make_pipeline(StandardScaler(), LogisticRegression(C=c, max_iter=2000))
