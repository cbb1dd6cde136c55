"""A backend of points that another program wrote to a CSV: OpenFace, Py-Feat, or MediaPipe's face mesh."""

import csv
import functools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from vitau.errors import SourceError, quoted
from vitau.measures.landmarks.backend import Flattening, Points
from vitau.media.crops import Image
from vitau.media.faces import FaceCrop
from vitau.schema import NUM_LANDMARKS

FACE_MESH: Final[tuple[int, ...]] = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),  # jaw
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144),  # the person's right eye
    *(362, 385, 387, 263, 373, 380),  # the person's left eye
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # outer edge of the lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner edge of the lips
)
"""The vertex of MediaPipe's face mesh for each of the 68 points."""
_MESH_SIZES: Final = (468, 478)
_NORMALIZED_UP_TO: Final = 2.0
"""Largest coordinate of normalized points; px of a face are larger."""
_COLUMN: Final = re.compile(r"x_?(\d+)", re.IGNORECASE)

_Frames: TypeAlias = dict[tuple[str, int], list[Points]]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Layout:
    """Positions of the columns of a CSV; ``first_frame`` is the number of a clip's first frame."""

    x: Sequence[int]
    y: Sequence[int]
    frame: int
    clip: int | None
    first_frame: int


class TableBackend:
    """Points of one CSV with a row per frame and face.

    Columns are ``frame`` and ``x_0, y_0, x_1, …`` (or ``x0``): 68 points in px, or MediaPipe's 468 or 478 points in px or as
    shares of the frame's width and height. OpenFace counts frames from 1 and is recognized by its column ``confidence``; the
    others count from 0. A column ``input`` names the clip, needed for several clips; its folder and suffix are ignored.

    Raises:
        SourceError: the file cannot be read, lacks a column, or a row is not numeric.
    """

    name = "csv"
    flattening: Flattening | None = None

    def __init__(self, path: Path) -> None:
        self._path = path
        self._frames = _read(path)

    def __reduce__(self) -> tuple[Any, ...]:
        """Return how another process reads the same file, once."""
        return _loaded, (self._path,)

    def points(self, image: Image, face: FaceCrop, frame_index: int = 0, clip: str = "") -> Points | None:
        """Return the stored points of this frame that are nearest to the tracked face and overlap it."""
        stored = self._frames.get((Path(clip).stem, frame_index), self._frames.get(("", frame_index), []))
        size = np.array([image.shape[1], image.shape[0]], np.float32)
        faces = [points * size if float(np.abs(points).max()) <= _NORMALIZED_UP_TO else points for points in stored]
        distances = [float(np.linalg.norm(points - face.landmarks, axis=1).mean()) for points in faces]
        if not faces or min(distances) > max(face.box[2:]) / 2:
            return None
        return faces[int(np.argmin(distances))]


@functools.cache
def _loaded(path: Path) -> TableBackend:
    return TableBackend(path)


def _read(path: Path) -> _Frames:
    frames: _Frames = {}
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = csv.reader(file)
            layout = _layout(path, [name.strip() for name in next(rows, [])])
            for number, row in enumerate(rows, start=2):
                for key, points in _points(path, number, row, layout):
                    frames.setdefault(key, []).append(points)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise SourceError(f"the landmarks in {quoted(path)} cannot be read: {quoted(error)}") from error
    if not frames:
        raise SourceError(f"{quoted(path)} has no row with landmarks; give one row per frame")
    return frames


def _layout(path: Path, columns: Sequence[str]) -> _Layout:
    names = {name.lower(): place for place, name in enumerate(columns)}
    numbers = sorted(int(match[1]) for name in names if (match := _COLUMN.fullmatch(name)))
    count = len(numbers)
    if count not in (NUM_LANDMARKS, *_MESH_SIZES) or numbers != list(range(count)):
        raise SourceError(
            f"{quoted(path)} has columns of {count} points; give x_0, y_0, … of {NUM_LANDMARKS} points (OpenFace, Py-Feat) "
            f"or of {_MESH_SIZES[0]} or {_MESH_SIZES[1]} (MediaPipe)"
        )
    wanted = range(NUM_LANDMARKS) if count == NUM_LANDMARKS else FACE_MESH
    underscore = "_" if "x_0" in names else ""
    missing = [name for name in ("frame", *(f"y{underscore}{point}" for point in wanted)) if name not in names]
    if missing:
        raise SourceError(f"{quoted(path)} has no column {quoted(missing[0])}; there are {quoted(', '.join(columns))}")
    return _Layout(
        x=[names[f"x{underscore}{point}"] for point in wanted],
        y=[names[f"y{underscore}{point}"] for point in wanted],
        frame=names["frame"],
        clip=names.get("input"),
        first_frame=1 if "confidence" in names and "success" in names else 0,
    )


def _points(path: Path, number: int, row: Sequence[str], layout: _Layout) -> Iterator[tuple[tuple[str, int], Points]]:
    """Yield the points of a row; none for a row without a face, whose coordinates are empty, NaN or all zero."""
    if not row:
        return
    try:
        frame = round(float(row[layout.frame])) - layout.first_frame
        values: NDArray[np.float32] = np.array(
            [[row[place].strip() or "nan" for place in (x, y)] for x, y in zip(layout.x, layout.y, strict=True)], np.float32
        )
    except (ValueError, IndexError) as error:
        raise SourceError(f"line {number} of {quoted(path)} is not a row of numbers; correct or remove it") from error
    if np.isfinite(values).all() and values.any():
        clip = "" if layout.clip is None else Path(row[layout.clip]).stem
        yield (clip, frame), values
