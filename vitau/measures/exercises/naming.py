"""Names of exercises: a multinomial model over movement features, smoothed in time."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from vitau.measures.exercises.blinks import find_blinks
from vitau.measures.exercises.features import FEATURES, first_levels, movement_features, rest_levels, without_lids
from vitau.measures.geometry import Floats
from vitau.measures.results import Task

WEIGHTS: Final = "weights.json"
_ROUNDS: Final = 3
_FEWEST_AT_REST: Final = 2
_SWITCH: Final = 1.0
"""Cost of another name in the next frame, as a log probability."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NamingModel:
    """A multinomial logistic model: ``weights`` (K, F) and ``intercept`` (K,) over features divided by ``scale`` (F,)."""

    classes: tuple[str, ...]
    scale: Floats
    weights: Floats
    intercept: Floats

    def log_probabilities(self, features: Floats) -> Floats:
        """Return the log probability of each class, (N, K)."""
        logit_NK = features / self.scale @ self.weights.T + self.intercept
        shifted_NK = logit_NK - logit_NK.max(axis=1, keepdims=True)
        log_NK: Floats = shifted_NK - np.log(np.exp(shifted_NK).sum(axis=1, keepdims=True))
        return log_NK

    def to_json(self) -> dict[str, Any]:
        """Return the model as JSON values, rounded to 4 digits."""
        return {
            "classes": list(self.classes),
            "features": list(FEATURES),
            **{name: np.round(getattr(self, name), 4).tolist() for name in ("scale", "weights", "intercept")},
        }


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class NamedFrames:
    """The names of frames: ``names`` (N,) are classes of the model, ``probabilities`` (N,) those of these names.

    ``levels`` is the level at rest of each measure; ``num_at_rest`` is the number of frames that it comes from, 0 if it is a
    guess.
    """

    names: tuple[str, ...]
    probabilities: Floats
    levels: Mapping[str, float]
    num_at_rest: int


def model_from_json(record: Mapping[str, Any]) -> NamingModel:
    """Return a model from :meth:`NamingModel.to_json`.

    Raises:
        ValueError: it was made for other features.
    """
    if tuple(record["features"]) != FEATURES:
        raise ValueError("the model of the exercises is for other features; make it again: python -m vitau.measures.exercises")
    scale, weights, intercept = (np.array(record[name], dtype=np.float64) for name in ("scale", "weights", "intercept"))
    return NamingModel(classes=tuple(record["classes"]), scale=scale, weights=weights, intercept=intercept)


@cache
def naming_model() -> NamingModel:
    """Load the model of this package."""
    return model_from_json(json.loads(files(__package__).joinpath(WEIGHTS).read_text(encoding="utf-8")))


def name_frames(
    columns: Mapping[str, Floats], known_rest: NDArray[np.bool_], time_s: Floats, model: NamingModel | None = None
) -> NamedFrames:
    """Name the exercise of each frame of one recording.

    The level at rest and the frames at rest depend on each other: the first guess of the level is a quantile of each measure,
    and the frames at rest under it give the next one.

    Args:
        columns: measures of the usable frames, (N,) each.
        known_rest: (N,), frames that a manifest calls rest; if there are any, they give the level.
        time_s: (N,), s. A step back starts another part.
        model: by default that of this package.
    """
    model = model or naming_model()
    rest = model.classes.index(Task.REST)
    is_rest_N = known_rest
    levels = rest_levels(columns, known_rest) if known_rest.any() else first_levels(columns)
    for _ in range(_ROUNDS):
        is_blink_N = find_blinks(columns, levels, time_s)
        opened = without_lids(columns, levels, is_blink_N)
        log_NK = model.log_probabilities(movement_features(opened, levels))
        if known_rest.any():
            break
        found_N = (log_NK.argmax(axis=1) == rest) & ~is_blink_N
        if found_N.sum() < _FEWEST_AT_REST:
            break
        is_rest_N, levels = found_N, rest_levels(columns, found_N)
    path_N = _smoothed(log_NK, time_s)
    return NamedFrames(
        names=tuple(model.classes[number] for number in path_N),
        probabilities=np.exp(log_NK[np.arange(len(path_N)), path_N]),
        levels=levels,
        num_at_rest=int(is_rest_N.sum()),
    )


def _smoothed(log_NK: Floats, time_s: Floats) -> NDArray[np.int64]:
    """Return the most probable sequence of classes (N,), where a switch costs something (Viterbi)."""
    num_frames, num_classes = log_NK.shape
    best_NK = log_NK.copy()
    back_NK = np.tile(np.arange(num_classes), (num_frames, 1))
    for number in range(1, num_frames):
        before_K = best_NK[number - 1]
        leader = int(before_K.argmax())
        switch = 0.0 if time_s[number] < time_s[number - 1] else _SWITCH
        switched = before_K[leader] - switch
        stays_K = before_K >= switched
        back_NK[number] = np.where(stays_K, np.arange(num_classes), leader)
        best_NK[number] += np.where(stays_K, before_K, switched)
    path_N = np.empty(num_frames, dtype=np.int64)
    path_N[-1] = best_NK[-1].argmax()
    for number in range(num_frames - 1, 0, -1):
        path_N[number - 1] = back_NK[number, path_N[number]]
    return path_N
