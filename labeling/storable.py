"""Checks of what a database can store: one text with a NUL character, or one time that is none, would stop every later pull."""

import math
from collections.abc import Mapping
from datetime import datetime


def is_storable(value: object) -> bool:
    """Return whether PostgreSQL, and JSON in it, can store a value: no NUL, valid Unicode, 64 bits, finite numbers."""
    match value:
        case str():
            return "\0" not in value and (value.isascii() or value == storable_text(value))
        case float():
            return math.isfinite(value)
        case int():
            return -(2**63) <= value < 2**63
        case Mapping():
            return all(map(is_storable, (*value, *value.values())))
        case list() | tuple() | set() | frozenset():
            return all(map(is_storable, value))
    return value is None


def storable_text(text: str) -> str:
    """Return a text without the characters that cannot be stored."""
    return text.replace("\0", "").encode("utf-8", "replace").decode()


def is_time(text: str) -> bool:
    """Return whether a text is an ISO 8601 time with a time zone, so that it can be compared with others."""
    try:
        return datetime.fromisoformat(text).utcoffset() is not None
    except ValueError:
        return False
