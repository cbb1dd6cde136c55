"""autoFPR-style: statistics of the movement of landmarks over a clip, selected, reduced and classified.

S. R. Gogu and S. R. Sathe, *AutoFPR: An efficient automatic approach for facial paralysis recognition using facial features*,
Int J Artif Intell Tools 32(2), 2023. Its healthy people are those of 300VW.

The authors': features of landmarks and head pose over a video, selection, principal components, a support vector machine.
Ours: mean, standard deviation and range of the distance of 51 landmarks from their median place and of three numbers of the
pose; the best 10, 20 or 40 by F-test, chosen on the validation people; components with 95 % of the variance; radial kernel.
The same features with gradient boosting are a row of their own.

Axes: R recordings, T frames of one, L landmarks, F features.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_selection import SelectKBest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from vitau.baselines.method import Budget
from vitau.baselines.recognition.landmarks.estimators import FeatureMethod
from vitau.baselines.recognition.recordings import recordings
from vitau.data.dataset import Crops
from vitau.measures.geometry import upright

_SELECTED: Final = (10, 20, 40)
_VARIANCE: Final = 0.95
_INNER: Final = slice(17, 68)
_RIGHT_EYE, _LEFT_EYE = slice(36, 42), slice(42, 48)
_NOSE_TIP: Final = 30
_BRIDGE: Final = 27
_SUBNASAL: Final = 33


def autofpr() -> FeatureMethod:
    """Return the method with a support vector machine, as in the article."""
    return FeatureMethod(
        name="autofpr",
        title="autoFPR-style",
        features=clip_features,
        unit="recording",
        candidates=[partial(_selected, _machine, num_selected) for num_selected in _SELECTED],
    )


def autofpr_boosted() -> FeatureMethod:
    """Return the method with gradient boosting in place of components and a support vector machine."""
    return FeatureMethod(
        name="autofpr-boosted",
        title="autoFPR-style, gradient boosting",
        features=clip_features,
        unit="recording",
        candidates=[partial(_selected, _boosted, num_selected) for num_selected in _SELECTED],
    )


def clip_features(crops: Crops, _budget: Budget) -> NDArray[np.float64]:
    """Return mean, standard deviation and range of each series of movement and pose of each recording, (R, 162)."""
    face_NL2 = upright(crops.landmarks_NL2)
    pose_N3 = head_pose(crops.landmarks_NL2)
    return np.stack(
        [_statistics(np.concatenate([movement(face_NL2[row_T]), pose_N3[row_T]], 1)) for row_T in recordings(crops)]
    )


def movement(face_TL2: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance of each of the landmarks 17–67 from its median place in a recording, (T, 51), eye distances."""
    inner_TL2 = face_TL2[:, _INNER]
    distance_TL: NDArray[np.float64] = np.linalg.norm(inner_TL2 - np.median(inner_TL2, axis=0), axis=2)
    return distance_TL


def head_pose(points_NL2: NDArray[Any]) -> NDArray[np.float64]:
    """Return three numbers (N, 3) that change with the pose of the head.

    Roll is the angle of the line through the eyes, rad. Yaw is the lateral position of the tip of the nose, in eye distances.
    Pitch is the place of the tip between the root of the nose and the subnasal point, from 0 to 1.
    """
    axis_N2 = points_NL2[:, _LEFT_EYE].mean(1) - points_NL2[:, _RIGHT_EYE].mean(1)
    face_NL2 = upright(points_NL2)
    height_N = face_NL2[:, _SUBNASAL, 1] - face_NL2[:, _BRIDGE, 1]
    height_N = np.where(np.abs(height_N) < 1e-3, 1e-3, height_N)
    pitch_N = (face_NL2[:, _NOSE_TIP, 1] - face_NL2[:, _BRIDGE, 1]) / height_N
    return np.stack([np.arctan2(axis_N2[:, 1], axis_N2[:, 0]), face_NL2[:, _NOSE_TIP, 0], pitch_N], 1)


def _statistics(series_TF: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.concatenate([series_TF.mean(0), series_TF.std(0), np.ptp(series_TF, axis=0)])


def _selected(classifier: Callable[[int], list[Any]], num_selected: int, num_features: int, seed: int) -> Any:
    return make_pipeline(StandardScaler(), SelectKBest(k=min(num_selected, num_features)), *classifier(seed))


def _machine(seed: int) -> list[Any]:
    return [PCA(_VARIANCE, svd_solver="full"), SVC(class_weight="balanced", random_state=seed)]


def _boosted(seed: int) -> list[Any]:
    return [GradientBoostingClassifier(n_estimators=100, max_depth=2, subsample=0.8, random_state=seed)]
