from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import pytest

from vitau.catalog.rows import from_row, recorded, to_row


class Color(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, kw_only=True)
class Point:
    name: str
    at: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Shape:
    color: Color
    border: Color | None
    points: tuple[Point, ...]
    counts: Mapping[Color, int]
    note: str | None


SHAPE = Shape(color=Color.RED, border=None, points=(Point(name="a", at=(1.0, 2.0)),), counts={Color.BLUE: 3}, note="as it is")
ROW = {
    "color": "red",
    "border": None,
    "points": [{"name": "a", "at": [1.0, 2.0]}],
    "counts": {"blue": 3},
    "note": "as it is",
    "recorded_at": "2026-11-23T00:00:00+00:00",
}


def test_enumerations_tuples_mappings_and_nested_dataclasses_are_restored_by_their_types():
    shape = from_row(Shape, ROW)
    assert shape == SHAPE
    assert type(shape.color) is type(next(iter(shape.counts))) is Color
    assert from_row(Shape, ROW | {"border": "blue"}).border is Color.BLUE


def test_a_value_can_stand_in_for_a_column():
    assert from_row(Shape, ROW, color=Color.BLUE, note=None) == from_row(Shape, ROW | {"color": "blue", "note": None})


def test_a_row_that_lacks_a_field_is_refused():
    with pytest.raises(KeyError, match="note"):
        from_row(Shape, {name: value for name, value in ROW.items() if name != "note"})


def test_a_dataclass_and_its_row_are_a_round_trip():
    (row,) = recorded([to_row(SHAPE, project="p")])
    assert row.keys() == {"color", "border", "points", "counts", "note", "project", "recorded_at"}
    assert from_row(Shape, row) == SHAPE
