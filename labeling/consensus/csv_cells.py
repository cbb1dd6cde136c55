"""Cells of a CSV of answers: their meanings, and errors that do not repeat a person's name."""

import json
import math
from collections.abc import Collection, Mapping
from typing import Any, Final, TypeVar

from labeling.consensus.standing_answers import week_of
from labeling.storable import is_storable
from vitau.errors import LabelingError, quoted
from vitau.schema import Mark, case_name, parse_visit, split_case

T = TypeVar("T")

_LONG_NAME: Final = 4  # shorter ones are parts of common words


class CellError(LabelingError):
    """A wrong cell; the message has ``{}`` in the place of its content, which may be a name that stands in the wrong column."""

    def __init__(self, message: str, cell: str) -> None:
        super().__init__(message)
        self._cell = cell

    def sentence(self, names: Collection[str]) -> str:
        """Return the message with the cell, unless it contains one of the names of the file."""
        cell = self._cell.casefold()
        named = any(name == cell or (len(name) >= _LONG_NAME and name in cell) for name in names)
        return str(self).replace("{}", "a name" if named else quoted(self._cell) or "empty", 1)


def one_of(column: str, cell: str, meanings: Mapping[str, T]) -> T:
    """Return what a cell means; a cell without a meaning is an error."""
    if cell in meanings:
        return meanings[cell]
    known = ", ".join(word or "empty" for word in meanings)
    if column == "au":
        raise CellError(f"unknown AU {{}}; the regions are {known}", cell or "(empty)")
    raise CellError(f"{column} is {{}}; it must be one of {known}", cell)


def visit_of(cell: str) -> str | None:
    """Return the visit of an answer; ``None`` for the visit 1."""
    try:
        return split_case(case_name("", parse_visit(cell)))[1]
    except ValueError as error:
        raise LabelingError(str(error).removeprefix("its ")) from error


def number_of(column: str, cell: str) -> float | None:
    """Return a finite number; ``None`` for an empty cell."""
    try:
        number = float(cell) if cell else None
    except ValueError:
        number = math.nan
    if number is not None and not math.isfinite(number):
        raise CellError(f"{column} is {{}}; it must be a number, or empty", cell)
    return number


def time_of(cell: str) -> str:
    """Return a time unchanged if it is valid; empty is unknown."""
    try:
        week_of(cell)
    except ValueError:
        raise CellError("answered_at is {}; it must be a time such as 2026-11-23T09:30:00Z, or empty", cell) from None
    return cell


def listed(column: str, cell: str) -> list[Any]:
    """Return a list that is written as JSON; an empty cell is an empty list."""
    try:
        found = json.loads(cell) if cell else []
    except (ValueError, RecursionError):  # ten thousand brackets are nested more deeply than Python's stack
        found = None
    if not isinstance(found, list) or not is_storable(found):
        raise LabelingError(f"{column} is not a list; write it as JSON, as an export does, or leave it empty")
    return found


def frame_of(item: object) -> str:
    """Return the name of a frame, an item of ``frames_shown``."""
    if not isinstance(item, str):
        raise LabelingError("frames_shown is not a list of names; write it as JSON, as an export does, or leave it empty")
    return item


def box_of(item: object) -> Mark:
    """Return a mark, an item of ``evidence``."""
    match item:
        case [
            str() as frame,
            int() | float() as left,
            int() | float() as top,
            int() | float() as width,
            int() | float() as height,
        ]:
            return Mark(frame=frame, box=(float(left), float(top), float(width), float(height)))
    raise LabelingError(
        "evidence is not a list of [frame, left, top, width, height]; write it as an export does, or leave it empty"
    )
