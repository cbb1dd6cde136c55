"""Check of what a database can store: values that a reader accepts must be among them."""

import math
from collections.abc import Mapping
from typing import Any


def check_storable(value: Any) -> None:
    """Raise AssertionError for a value that PostgreSQL, or JSON in it, cannot store."""
    match value:
        case str():
            assert "\0" not in value, "a NUL character that no database stores"
            assert not any("\ud800" <= character <= "\udfff" for character in value), "half a character, which UTF-8 lacks"
        case bool() | None:
            pass
        case int():
            assert abs(value) < 2**63, "an integer that no database stores"
        case float():
            assert math.isfinite(value), "a number that JSON lacks"
        case Mapping():
            check_storable([*value, *value.values()])
        case list() | tuple() | set() | frozenset():
            for item in value:
                check_storable(item)
