"""Tables of a measurement: series per frame, measures per exercise, people, inputs and skipped inputs."""

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from vitau.measures.geometry import SIDES, column_names
from vitau.measures.pixels import PIXEL_COLUMNS
from vitau.measures.results import Measure, Recording
from vitau.measures.series import QUALITY_COLUMNS
from vitau.schema import Skipped, safe_cell

FIRST_COLUMNS: Final = tuple(
    f"{name}_{side}" for name in ("brow_height", "lid_gap", "lip_corner_height", "lip_corner_lateral") for side in SIDES
)
MEASURE_COLUMNS: Final = (*FIRST_COLUMNS, *(name for name in column_names() if name not in FIRST_COLUMNS))
MM_COLUMNS: Final = tuple(f"{name}_mm" for name in MEASURE_COLUMNS)
SERIES_COLUMNS: Final = (
    "input",
    "frame_index",
    "time_s",
    "task",
    *MEASURE_COLUMNS,
    *MM_COLUMNS,
    *QUALITY_COLUMNS,
    *PIXEL_COLUMNS,
    "usable",
    "visit",
)
PEOPLE_COLUMNS: Final = (
    "input",
    "side",
    "side_probability",
    "asymmetry",
    "pattern",
    "forehead_spared",
    "visit",
    "recorded_at",
    "num_frames",
    "num_measured",
    "eye_distance_mm",
    "landmarks",
    "notes",
)
MEASURES_COLUMNS: Final = (
    "input",
    "visit",
    "recorded_at",
    *(("exercise" if field.name == "task" else field.name) for field in fields(Measure)),
)
_TEXT: Final = frozenset({"input", "task", "visit"})


def _series_type(name: str) -> pa.DataType:
    if name in _TEXT:
        return pa.string()
    return {"frame_index": pa.int64(), "usable": pa.bool_()}.get(name, pa.float64())


SERIES_SCHEMA: Final = pa.schema([pa.field(name, _series_type(name)) for name in SERIES_COLUMNS])


def series_table(recording: Recording) -> pa.Table:
    """Return the series of a recording as a table of ``SERIES_COLUMNS``; missing values are null."""
    series, scale = recording.series, recording.series.eye_distance_mm
    length = len(series)
    columns: dict[str, Any] = {
        "input": [recording.item] * length,
        "frame_index": series.frame_index,
        "time_s": series.time_s,
        "task": [None if task is None else task.value for task in series.task],
        "usable": series.usable,
        "visit": [recording.visit] * length,
        **{name: _nullable(series.columns[name]) for name in (*MEASURE_COLUMNS, *QUALITY_COLUMNS, *PIXEL_COLUMNS)},
        **{f"{name}_mm": _nullable(series.columns[name] * (np.nan if scale is None else scale)) for name in MEASURE_COLUMNS},
    }
    return pa.table([pa.array(columns[name], type=SERIES_SCHEMA.field(name).type) for name in SERIES_COLUMNS], SERIES_SCHEMA)


class TableWriter:
    """Writes the tables of a measurement, recording by recording; use it as a context manager.

    Files are readable by their owner only. They name inputs by the names that their owner gave the files.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._series = self._open("series.csv", SERIES_COLUMNS)
        self._people = self._open("people.csv", PEOPLE_COLUMNS)
        self._measures = self._open("measures.csv", MEASURES_COLUMNS)
        self._inputs = self._open("inputs.csv", ("input", "path"))
        self._skipped = self._open("skipped.csv", ("input", "reason"))
        parquet = self._private("series.parquet")
        self._parquet = self._stack.enter_context(pq.ParquetWriter(parquet, SERIES_SCHEMA, compression="zstd"))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self._stack.close()

    def add(self, recording: Recording) -> None:
        """Append the rows of a recording to all tables."""
        table = series_table(recording)
        self._parquet.write_table(table)
        for batch in table.to_batches(max_chunksize=1000):
            self._series.writerows(_cells(row.values()) for row in batch.to_pylist())
        self._people.writerow(_cells(person_record(recording).values()))
        self._inputs.writerows(_cells((recording.item, str(path))) for path in recording.paths)
        about = {"input": recording.item, "visit": recording.visit, "recorded_at": recording.recorded_at}
        self._measures.writerows(
            _cells({**about, **measure_record(measure)}[name] for name in MEASURES_COLUMNS) for measure in recording.measures
        )

    def write_skipped(self, skipped: Sequence[Skipped]) -> None:
        """Write what was skipped, with the reasons."""
        self._skipped.writerows(_cells((skip.item, skip.reason)) for skip in skipped)

    def _open(self, name: str, header: Sequence[str]) -> Any:
        file: TextIO = self._stack.enter_context(self._private(name).open("w", newline="", encoding="utf-8"))
        writer = csv.writer(file)
        writer.writerow(header)
        return writer

    def _private(self, name: str) -> Path:
        path = self._out / name
        path.unlink(missing_ok=True)
        path.touch(mode=0o600, exist_ok=False)
        return path


def person_record(recording: Recording) -> dict[str, Any]:
    """Return a recording as one row of ``people.csv``."""
    person = recording.person
    return {
        "input": recording.item,
        "side": None if person.side is None else person.side.value,
        "side_probability": person.side_probability,
        "asymmetry": person.asymmetry,
        "pattern": person.pattern,
        "forehead_spared": person.forehead_spared,
        "visit": recording.visit,
        "recorded_at": recording.recorded_at,
        "num_frames": recording.num_frames,
        "num_measured": int(recording.series.usable.sum()),
        "eye_distance_mm": recording.series.eye_distance_mm,
        "landmarks": recording.backend,
        "notes": " ".join(recording.notes),
    }


def measure_record(measure: Measure) -> Mapping[str, Any]:
    """Return a measure as one row of ``measures.csv``, without the columns about its input."""
    return {("exercise" if field.name == "task" else field.name): getattr(measure, field.name) for field in fields(measure)}


def _nullable(values: Any) -> pa.Array:
    return pa.array(values, type=pa.float64(), mask=~np.isfinite(values))


def _cells(values: Iterable[Any]) -> Iterator[str]:
    return (_cell(value) for value in values)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:.6g}" if math.isfinite(value) else ""
    return safe_cell(str(value))
