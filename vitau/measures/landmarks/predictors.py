"""Backends of dlib: the points of the store, and those of a user's own shape predictor."""

import functools
from pathlib import Path
from typing import Any, Final

import dlib
import numpy as np

from vitau.errors import quoted
from vitau.measures.landmarks.backend import Flattening, Points
from vitau.measures.landmarks.stated import stated_flattening
from vitau.media.crops import Image
from vitau.media.faces import FaceCrop
from vitau.schema import NUM_LANDMARKS

SETTING: Final = "VITAU_SHAPE_PREDICTOR"
"""Environment variable with the path of a user's own shape predictor."""

_NUM_PEOPLE: Final = 12


class DlibBackend:
    """The points that dlib found when the face was tracked; they flatten the asymmetry of brows and lids strongly."""

    name = "dlib"

    @property
    def flattening(self) -> Flattening | None:
        """Flattening as stored with the weights of the refinement."""
        return stated_flattening(self.name)

    def points(self, image: Image, face: FaceCrop, frame_index: int = 0, clip: str = "") -> Points | None:  # noqa: ARG002 - the interface
        """Return the points of the tracked face."""
        return face.landmarks


class ShapePredictorBackend:
    """A user's own shape predictor of dlib with 68 points, such as one that was trained on faces with a palsy.

    Raises:
        ValueError: the file is missing, is no shape predictor, or gives another number of points.
    """

    name = "shape_predictor"

    def __init__(self, path: Path) -> None:
        self._path = path
        self._predict = _load(path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how another process loads the same file, once."""
        return _loaded, (self._path,)

    @functools.cached_property
    def flattening(self) -> Flattening | None:
        """Flattening, measured now on a few drawn people."""
        from vitau.measures.landmarks.flattening import measure_flattening

        return measure_flattening(self, num_people=_NUM_PEOPLE)

    def points(self, image: Image, face: FaceCrop, frame_index: int = 0, clip: str = "") -> Points | None:  # noqa: ARG002 - the interface
        """Predict the points in the box of the tracked face."""
        x, y, width, height = (round(value) for value in face.box)
        return _parts(self._predict(image, dlib.rectangle(x, y, x + width - 1, y + height - 1)))


@functools.cache
def _loaded(path: Path) -> ShapePredictorBackend:
    return ShapePredictorBackend(path)


def _load(path: Path) -> Any:
    if not path.is_file():
        raise ValueError(f"{SETTING} names the file {quoted(path)}, which does not exist; give a shape predictor of dlib")
    try:
        predict = dlib.shape_predictor(str(path))
        num_points = len(_parts(predict(np.zeros((64, 64, 3), np.uint8), dlib.rectangle(8, 8, 55, 55))))
    except RuntimeError as error:
        raise ValueError(f"{SETTING} names {quoted(path)}, which is no shape predictor of dlib: {quoted(error)}") from error
    if num_points != NUM_LANDMARKS:
        raise ValueError(f"the shape predictor {quoted(path)} gives {num_points} points; give one with {NUM_LANDMARKS}")
    return predict


def _parts(shape: Any) -> Points:
    return np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float32)
