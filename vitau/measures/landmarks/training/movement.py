"""Evaluation of the movement score and of the side on drawn people."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from vitau.errors import VitauError
from vitau.measures.asymmetry import movement_asymmetry
from vitau.measures.geometry import measure_points
from vitau.measures.landmarks.backend import LandmarkBackend
from vitau.measures.weakness.model import weakness_model
from vitau.measures.weakness.signs import measure_signs
from vitau.media.clips import SampledFrame
from vitau.media.synthetic.cohort import draw_clip
from vitau.media.synthetic.people import Person, draw_person
from vitau.media.tracking.tracker import track_faces

_FRAMES_PER_TASK: Final = 2


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
        columns = measure_points(_track(person, backend))
        score, signs = movement_asymmetry(columns), measure_signs(columns)
        if score is None or signs is None:
            continue
        scores[person.palsied].append(score)
        if person.palsied:
            right.append(weakness_model().judge(signs).side is person.side)
    pairs = [(palsied > control) + 0.5 * (palsied == control) for palsied in scores[True] for control in scores[False]]
    return MovementResult(num_people=num_people, seed=seed, auroc=float(np.mean(pairs)), side_right=float(np.mean(right)))


def _track(person: Person, backend: LandmarkBackend) -> NDArray[np.float32]:
    """Return the points of the clip of a person, (N, 68, 2); a frame without a face repeats the one before."""
    drawn, found = enumerate(draw_clip(person, _FRAMES_PER_TASK)), []
    frames = (SampledFrame(index=number, time_s=0.0, image=image) for number, image in drawn)
    for frame, _, face in track_faces(frames):
        points = None if face is None else backend.points(frame.image, face, frame.index, person.subject)
        if points is not None:
            found.append(points)
        elif found:
            found.append(found[-1])
    return np.stack(found)
