"""The workbook ``measures.xlsx``: a record per person, all measures, and the dictionaries of both."""

from collections.abc import Iterable, Sequence
from dataclasses import fields, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np

from vitau.measures.reporting.dictionary import REDCAP_HEADER, column_rows, record, variables
from vitau.measures.reporting.words import STATEMENT
from vitau.measures.results import Measure, Recording, Series
from vitau.schema import Skipped, safe_cell
from vitau.store.atomic import atomic_path

WORKBOOK: Final = "measures.xlsx"
_MEASURE_HEADER: Final = (
    "input",
    "visit",
    "recorded_at",
    *("exercise" if f.name == "task" else f.name for f in fields(Measure)),
)
_OPTIONS: Final = {"strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
"""No text of a recording becomes a formula or a link."""
_CREATED: Final = datetime(1980, 1, 1)  # noqa: DTZ001 - the date inside the file, so that the same measures are the same bytes


class WorkbookWriter:
    """Collects the measures of all people and writes the workbook at the end; use it as a context manager.

    Curves and pictures are not kept. The workbook is readable by its owner only.
    """

    def __init__(self, out: Path) -> None:
        self._out = out
        self._recordings: list[Recording] = []
        self._skipped: Sequence[Skipped] = ()

    def __enter__(self) -> Self:
        return self

    def add(self, recording: Recording) -> None:
        """Take over the measures of a person."""
        self._recordings.append(_without_curves(recording))

    def write_skipped(self, skipped: Sequence[Skipped]) -> None:
        """Take over what was not measured."""
        self._skipped = skipped

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        if error is None:
            write_workbook(self._recordings, self._out / WORKBOOK, self._skipped)


def write_workbook(recordings: Sequence[Recording], path: Path, skipped: Sequence[Skipped] = ()) -> None:
    """Write a workbook with the sheets records, measures, data_dictionary, columns, skipped and about, atomically.

    ``records`` has a row per input in the variables of ``data_dictionary``, which REDCap imports as it is.
    """
    import xlsxwriter

    known = variables(recordings)
    names = [variable.name for variable in known]
    with atomic_path(path) as partial, xlsxwriter.Workbook(partial, _OPTIONS) as book:
        book.set_properties({"title": "ViTAU measures", "comments": STATEMENT, "created": _CREATED})
        bold = book.add_format({"bold": True, "bottom": 1})
        rows = (tuple(map(record(recording).get, names)) for recording in recordings)
        _sheet(book, bold, "records", names, rows, widths=(24,))
        measures = ((*_about(recording), *_values(measure)) for recording in recordings for measure in recording.measures)
        _sheet(book, bold, "measures", _MEASURE_HEADER, measures, widths=(24, 8, 12, 20, 22, 12, 14))
        _sheet(book, bold, "data_dictionary", REDCAP_HEADER, (v.row() for v in known), widths=(26, 16, 20, 10, 60, 30, 40))
        _sheet(book, bold, "columns", ("column", "type", "meaning"), column_rows(), widths=(34, 10, 110))
        _sheet(book, bold, "skipped", ("input", "reason"), ((skip.item, skip.reason) for skip in skipped), widths=(24, 90))
        about = (("statement", STATEMENT), ("made by", f"ViTAU {version('vitau')}"), ("sides", "the person's own"))
        _sheet(book, bold, "about", ("about", "text"), about, widths=(14, 80))


def _sheet(
    book: Any, bold: Any, name: str, header: Sequence[str], rows: Iterable[Sequence[Any]], *, widths: Sequence[int]
) -> None:
    sheet = book.add_worksheet(name)
    sheet.freeze_panes(1, 1)
    for column, width in enumerate(widths):
        sheet.set_column(column, column, width)
    for column, title in enumerate(header):
        sheet.write_string(0, column, title, bold)
    last = 0
    for number, row in enumerate(rows, start=1):
        last = number
        for column, value in enumerate(row):
            if isinstance(value, str):
                sheet.write_string(number, column, safe_cell(value))
            elif value is not None:
                sheet.write_number(number, column, float(value))
    sheet.autofilter(0, 0, max(last, 1), len(header) - 1)


def _about(recording: Recording) -> tuple[str | None, ...]:
    return (recording.item, recording.visit, recording.recorded_at)


def _values(measure: Measure) -> Iterable[Any]:
    return (getattr(measure, field.name) for field in fields(Measure))


def _without_curves(recording: Recording) -> Recording:
    """Return a recording whose series holds nothing but the number of usable frames and the scale."""
    series = recording.series
    empty = Series(
        item=series.item,
        frame_index=np.empty(0, dtype=np.int64),
        time_s=np.empty(0),
        part=np.empty(0, dtype=np.int64),
        task=(),
        columns={},
        points=np.empty((0, 68, 2), dtype=np.float32),
        usable=series.usable,
        frame_size=series.frame_size,
        eye_distance_mm=series.eye_distance_mm,
    )
    return replace(recording, series=empty, key_frames=(), page=None)
