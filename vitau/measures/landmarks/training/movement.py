"""Evaluation of the movement score on drawn people, and the calibration of the probability of the side."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitau.errors import VitauError
from vitau.measures.asymmetry import Asymmetry, movement_asymmetry
from vitau.measures.geometry import measure_points
from vitau.measures.landmarks.backend import LandmarkBackend
from vitau.media.faces import FaceTracker
from vitau.media.synthetic.cohort import draw_clip
from vitau.media.synthetic.people import TASKS, Person, draw_person
from vitau.schema import Side

_FRAMES_PER_TASK: Final = 2
_FEWEST_TASKS: Final = 2
_PARTS_PER_PERSON: Final = 8


@dataclass(frozen=True, kw_only=True, slots=True)
class MovementResult:
    """The movement score on drawn people.

    ``auroc`` separates people with a palsy from controls, and ``side_right`` is the share of palsied people with the right
    side. ``side_slope`` is the slope of the logistic function from the mean log ratio to the probability of the side.
    """

    num_people: int
    seed: int
    auroc: float
    side_right: float
    side_slope: float


def evaluate_movement(backend: LandmarkBackend, num_people: int, seed: int) -> MovementResult:
    """Measure drawn people in all tasks, judge them, and fit the slope of the side's probability on parts of their tasks.

    Raises:
        VitauError: there is no palsied person or no control among them.
    """
    people = [draw_person(seed, index) for index in range(num_people)]
    if len({person.palsied for person in people}) < 2:
        raise VitauError(f"{num_people} drawn people of seed {seed} hold no pair of a palsy and a control; draw more")
    scores: dict[bool, list[float]] = {True: [], False: []}
    right, leans = [], []
    for person in people:
        points = _track(person, backend)
        whole = movement_asymmetry(measure_points(points))
        if whole is None:
            continue
        scores[person.palsied].append(whole.score)
        if person.palsied:
            right.append(whole.side is person.side)
            leans.extend(_leans_of_parts(person, points))
    pairs = [(palsied > control) + 0.5 * (palsied == control) for palsied in scores[True] for control in scores[False]]
    return MovementResult(
        num_people=num_people,
        seed=seed,
        auroc=float(np.mean(pairs)),
        side_right=float(np.mean(right)),
        side_slope=fit_side_slope(np.array(leans)),
    )


def fit_side_slope(leans: NDArray[np.float64]) -> float:
    """Fit k of p = 1 / (1 + exp(−k · lean)), the most likely one; ``leans`` (N,) are negative where the side is wrong."""
    slopes = np.geomspace(0.5, 100, 400)
    likelihood = -np.logaddexp(0, -slopes[:, None] * leans[None]).sum(axis=1)
    return float(slopes[int(np.argmax(likelihood))])


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


def _leans_of_parts(person: Person, points: NDArray[np.float32]) -> list[float]:
    """Return the lean to the true side in random parts of the tasks, in which the side is harder to see."""
    rng = np.random.default_rng([person.seed, person.index, 9])
    leans = []
    for _ in range(_PARTS_PER_PERSON):
        tasks = rng.permutation(len(TASKS))[: rng.integers(_FEWEST_TASKS, len(TASKS))]
        frames = [number for number in range(len(points)) if number // _FRAMES_PER_TASK in tasks]
        judged = movement_asymmetry(measure_points(points[frames]))
        if judged is not None:
            leans.append(_lean(judged) * (1 if person.side is Side.RIGHT else -1))
    return leans


def _lean(judged: Asymmetry) -> float:
    return float(np.mean(list(judged.log_ratios.values())))
