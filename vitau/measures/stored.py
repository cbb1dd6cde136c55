"""The measures of a clip as a table beside its frame table: written while the clip is ingested, read when people look at it."""

import functools
import hashlib
import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vitau.data.parquet import read_table
from vitau.errors import ChecksumError, StoreError
from vitau.measures.geometry import SIDES, column_names, measure_points, working_names
from vitau.measures.landmarks.backend import LandmarkBackend
from vitau.measures.landmarks.choice import open_backend
from vitau.measures.landmarks.refinement import WEIGHTS
from vitau.measures.pixels import PIXEL_COLUMNS, scale_of
from vitau.measures.results import Series
from vitau.measures.series import QUALITY_COLUMNS, MeasuredFrame, SeriesBuilder, measure_frame
from vitau.media.clips import SampledFrame
from vitau.media.crops import Quality
from vitau.media.faces import FaceCrop
from vitau.schema import NUM_LANDMARKS
from vitau.store import Store
from vitau.store.atomic import atomic_path

BACKEND: Final = "refined"
"""The landmarks of every ingest, whatever a machine's settings say, so that the measures of all clips can be compared."""
_CODE: Final = 3
"""Increases when the code gives other values for the same frames."""
_POINTS: Final = "refined_landmarks"
_VALUES: Final = (*column_names(), *QUALITY_COLUMNS, *PIXEL_COLUMNS)


def _schema() -> pa.Schema:
    fields = [("frame_index", pa.int64()), ("time_s", pa.float64()), ("usable", pa.bool_())]
    values = [(name, pa.float64()) for name in _VALUES]
    return pa.schema([*fields, *values, (_POINTS, pa.list_(pa.float32()))])


@functools.cache
def measures_version() -> str:
    """Return the version of the stored measures: a digest of 16 hex digits of the code's version and the weights."""
    weights = hashlib.sha256(WEIGHTS.read_bytes()).hexdigest()
    return hashlib.sha256(f"{_CODE} {BACKEND} {weights}".encode()).hexdigest()[:16]


@functools.cache
def load_backend() -> LandmarkBackend:
    """Return the backend of the stored measures, loaded once per process.

    Raises:
        CheckpointError: the weights cannot be loaded.
    """
    return open_backend(BACKEND)


def _look(mirrored: bool, frame: SampledFrame, face: FaceCrop, measured: Quality) -> MeasuredFrame | None:
    """Measure a frame that shows the face."""
    points = load_backend().points(frame.image, face, frame.number)
    return None if points is None else measure_frame(frame, face, points, mirrored=mirrored, measured=measured)


class FrameMeasurer:
    """Measures the frames of one clip while they are cut, with the faces that were found for the crops.

    Args:
        mirrored: left and right are swapped in the recording.
    """

    def __init__(self, *, mirrored: bool = False) -> None:
        self.look = partial(_look, mirrored)
        self._rows = SeriesBuilder("")
        load_backend()

    def add(self, seen: MeasuredFrame | None) -> None:
        """Take over a measured frame."""
        if seen is not None:
            self._rows.add(seen)

    def write(self, path: Path) -> None:
        """Write the table, which has no row for a clip without a face; the file is written atomically.

        Raises:
            StoreError: the disk is full.
        """
        try:
            with atomic_path(path) as partial:
                pq.write_table(self._table(), partial, compression="zstd")
        except OSError as error:
            raise StoreError(f"{path.name} cannot be written ({os.strerror(error.errno or 0)}); free disk space") from error

    def _table(self) -> pa.Table:
        if not len(self._rows):
            return _schema().empty_table()
        series = self._rows.series()
        width, height = series.frame_size
        about = {"width": str(width), "height": str(height), "mirrored": str(series.mirrored).lower()}
        columns: dict[str, Any] = {
            "frame_index": series.frame_index,
            "time_s": series.time_s,
            "usable": series.usable,
            **{name: _nullable(series.columns[name]) for name in _VALUES},
            _POINTS: list(series.points.reshape(len(series), -1)),
        }
        schema = _schema()
        return pa.table([pa.array(columns[field.name], type=field.type) for field in schema], schema.with_metadata(about))


def read_measures(store: Store, key: str) -> Series | None:
    """Return the stored series of a clip; ``None`` if no frame of it shows a face.

    Raises:
        ObjectNotFoundError: the clip was ingested before measures were stored.
        ChecksumError: the object is damaged.
        StoreError: the object cannot be read.
    """
    try:
        table = read_table(store, key, _schema().names)
    except pa.ArrowException as error:
        raise ChecksumError(f"{store.location(key)} is no table of measures: restore it from a copy") from error
    if not table.num_rows:
        return None
    about = {name.decode(): value.decode() for name, value in (table.schema.metadata or {}).items()}
    columns = {name: table[name].to_numpy(zero_copy_only=False).astype(np.float64) for name in _VALUES}
    points = np.array(table[_POINTS].to_pylist(), dtype=np.float32).reshape(table.num_rows, NUM_LANDMARKS, 2)
    mirrored = about["mirrored"] == "true"
    computed = measure_points(points * (-1, 1) if mirrored else points)  # the points are in the order of the own sides
    columns |= {name: computed[name] for name in working_names()}
    return Series(
        item="",
        frame_index=table["frame_index"].to_numpy(),
        time_s=table["time_s"].to_numpy(),
        part=np.zeros(table.num_rows, dtype=np.int64),
        task=(None,) * table.num_rows,
        columns=columns,
        points=points,
        usable=table["usable"].to_numpy(zero_copy_only=False),
        frame_size=(int(about["width"]), int(about["height"])),
        mirrored=mirrored,
        eye_distance_mm=_scale(columns),
    )


def join_series(item: str, parts: Sequence[Series]) -> Series:
    """Join the series of one person's clips at one visit; ``part`` is the number of the clip, from 0.

    ``frame_index`` stays that of the clip. Size and mirroring are those of the first clip.

    Raises:
        ValueError: no part is given.
    """
    if not parts:
        raise ValueError("no series is given; a person without one has not been measured")
    columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns}
    return replace(
        parts[0],
        item=item,
        frame_index=np.concatenate([part.frame_index for part in parts]),
        time_s=np.concatenate([part.time_s for part in parts]),
        part=np.concatenate([np.full(len(part), number) for number, part in enumerate(parts)]),
        task=tuple(task for part in parts for task in part.task),
        columns=columns,
        points=np.concatenate([part.points for part in parts]),
        usable=np.concatenate([part.usable for part in parts]),
        eye_distance_mm=_scale(columns),
    )


def _scale(columns: dict[str, Any]) -> float | None:
    return scale_of(np.concatenate([columns[f"iris_diameter_{side}"] for side in SIDES]))


def _nullable(values: Any) -> pa.Array:
    return pa.array(values, type=pa.float64(), mask=~np.isfinite(values))
