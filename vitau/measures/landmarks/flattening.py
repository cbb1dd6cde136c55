"""Measurement of how much asymmetry a landmark backend keeps, on drawn people whose true points are known."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vitau.errors import VitauError
from vitau.measures.geometry import measure_points
from vitau.measures.landmarks.backend import FLATTENED, Flattening, Kept, LandmarkBackend
from vitau.media.crops import Image
from vitau.media.faces import FaceCrop, align, detect, person_of_interest
from vitau.media.synthetic.drawing import draw_frame
from vitau.media.synthetic.people import TASKS, draw_person

UNUSED_SEED = 20_261_129
"""Seed of the drawn people for the flattening; nothing is trained on them."""
_SEARCHED_PX = 640


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class DrawnFrame:
    """A drawn frame with the tracked face and its true points (68, 2), px."""

    image: Image
    face: FaceCrop
    truth: NDArray[np.floating[Any]]


def draw_faces(num_people: int, seed: int = UNUSED_SEED) -> Iterator[DrawnFrame]:
    """Draw people performing all tasks, one frame per task; frames in which no face is detected are left out."""
    for index in range(num_people):
        person = draw_person(seed, index)
        rng = np.random.default_rng([seed, index, 4])
        for task in TASKS:
            drawing = draw_frame(person, task, float(rng.uniform(0.4, 1.0)), rng)
            found = detect(drawing.image, _SEARCHED_PX)
            if found:
                best = person_of_interest(found, drawing.image.shape[1], drawing.image.shape[0])
                yield DrawnFrame(image=drawing.image, face=align(drawing.image, best), truth=drawing.landmarks)


def measure_flattening(backend: LandmarkBackend, num_people: int, seed: int = UNUSED_SEED) -> Flattening:
    """Measure the slope and the correlation of measured on true left–right differences, over all frames of drawn people.

    Raises:
        VitauError: the backend gives points for fewer than three frames.
    """
    pairs = [(backend.points(frame.image, frame.face), frame.truth) for frame in draw_faces(num_people, seed)]
    known = [(points, truth) for points, truth in pairs if points is not None]
    if len(known) < 3:
        raise VitauError(f"the landmarks {backend.name} have points for {len(known)} of {len(pairs)} drawn frames")
    measured, true = (measure_points(np.stack(points)) for points in zip(*known, strict=True))
    kept = {name: kept_asymmetry(_difference(measured, name), _difference(true, name)) for name in FLATTENED}
    return Flattening(kept=kept, num_people=num_people, seed=seed)


def kept_asymmetry(measured: NDArray[np.float64], true: NDArray[np.float64]) -> Kept:
    """Return slope and correlation of measured on true left–right differences, (N,) each."""
    covariance = np.cov(true, measured)
    slope = covariance[0, 1] / covariance[0, 0]
    return Kept(slope=float(slope), correlation=float(np.corrcoef(true, measured)[0, 1]))


def _difference(columns: dict[str, NDArray[np.float64]], name: str) -> NDArray[np.float64]:
    return columns[f"{name}_right"] - columns[f"{name}_left"]
