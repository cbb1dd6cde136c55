"""Evaluation of the movement score on drawn people, and the weights of the measures in the side."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from vitau.errors import VitauError
from vitau.measures.asymmetry import SIDE_WEIGHTS, movement_asymmetry, movement_ratios
from vitau.measures.geometry import measure_points
from vitau.measures.landmarks.backend import LandmarkBackend
from vitau.media.faces import FaceTracker
from vitau.media.synthetic.cohort import draw_clip
from vitau.media.synthetic.drawing import draw_landmarks
from vitau.media.synthetic.people import TASKS, Person, draw_person
from vitau.schema import Side

_FRAMES_PER_TASK: Final = 2
_ERROR: Final = 0.012
"""Standard deviation of the error of a point, in face units: once per person and once per frame."""
_PENALTY: Final = 0.002


@dataclass(frozen=True, kw_only=True, slots=True)
class MovementResult:
    """The movement score on drawn people.

    ``auroc`` separates people with a palsy from controls, and ``side_right`` is the share of palsied people with the right
    side.
    """

    num_people: int
    seed: int
    auroc: float
    side_right: float


def evaluate_movement(backend: LandmarkBackend, num_people: int, seed: int) -> MovementResult:
    """Measure drawn people in all tasks, and judge them.

    Raises:
        VitauError: there is no palsied person or no control among them.
    """
    people = [draw_person(seed, index) for index in range(num_people)]
    if len({person.palsied for person in people}) < 2:
        raise VitauError(f"{num_people} drawn people of seed {seed} hold no pair of a palsy and a control; draw more")
    scores: dict[bool, list[float]] = {True: [], False: []}
    right = []
    for person in people:
        judged = movement_asymmetry(measure_points(_track(person, backend)))
        if judged is None:
            continue
        scores[person.palsied].append(judged.score)
        if person.palsied:
            right.append(judged.side is person.side)
    pairs = [(palsied > control) + 0.5 * (palsied == control) for palsied in scores[True] for control in scores[False]]
    return MovementResult(num_people=num_people, seed=seed, auroc=float(np.mean(pairs)), side_right=float(np.mean(right)))


def fit_side_weights(num_people: int, seed: int) -> dict[str, float]:
    """Fit the weights of the measures in the log-odds of the side, by logistic regression without an intercept.

    The people are palsied, nothing is painted, and their points have errors like those of the refinement.
    """
    rows_NM, signs = [], []
    for index in range(num_people):
        person = draw_person(seed, index, palsied=True)
        ratios = movement_ratios(measure_points(_draw_points(person)))
        rows_NM.append([ratios[measure] for measure in SIDE_WEIGHTS])
        signs.append(1 if person.side is Side.RIGHT else -1)
    weights = fit_log_odds(np.array(rows_NM), np.array(signs))
    return dict(zip(SIDE_WEIGHTS, weights.tolist(), strict=True))


def fit_log_odds(ratios_NM: NDArray[np.float64], signs_N: NDArray[np.int64]) -> NDArray[np.float64]:
    """Fit weights (M,), 0 or more, of log-odds; ``signs_N`` is 1 where the positive side is right, else −1."""

    def loss(weights_M: NDArray[np.float64]) -> float:
        odds_N = signs_N * (ratios_NM @ weights_M)
        return float(np.logaddexp(0, -odds_N).mean() + _PENALTY * weights_M @ weights_M)

    count = ratios_NM.shape[1]
    return minimize(loss, np.ones(count), bounds=[(0, None)] * count).x


def _draw_points(person: Person) -> NDArray[np.float64]:
    rng, error = (np.random.default_rng([person.seed, person.index, stream]) for stream in (4, 9))
    amounts = [(number + 1) / _FRAMES_PER_TASK for number in range(_FRAMES_PER_TASK)]
    points = np.stack([draw_landmarks(person, task, amount, rng) for task in TASKS for amount in amounts])
    return points + error.normal(0, _ERROR, points.shape) + error.normal(0, _ERROR, points.shape[1:])


def _track(person: Person, backend: LandmarkBackend) -> NDArray[np.float32]:
    """Return the points of the clip of a person, (N, 68, 2); a frame without a face repeats the one before."""
    tracker, found = FaceTracker(), []
    for number, image in enumerate(draw_clip(person, _FRAMES_PER_TASK)):
        _, face = tracker.track(image)
        points = None if face is None else backend.points(image, face, number, person.subject)
        if points is not None:
            found.append(points)
        elif found:
            found.append(found[-1])
    return np.stack(found)
