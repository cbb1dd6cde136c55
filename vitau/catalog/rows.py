"""The mapping between database rows and the dataclasses of the domain."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, is_dataclass
from datetime import UTC, datetime
from enum import Enum
from functools import cache
from types import UnionType
from typing import TYPE_CHECKING, Any, TypeVar, Union, get_args, get_origin, get_type_hints

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

T = TypeVar("T")
Convert = Callable[[Any], Any]


def to_row(value: "DataclassInstance", **columns: Any) -> dict[str, Any]:
    """Return the fields of a dataclass as columns, and ``columns`` beside them."""
    return {**asdict(value), **columns}


def from_row(kind: type[T], row: Mapping[str, Any], **values: Any) -> T:
    """Build a dataclass from a row.

    Enumerations, tuples, mappings and nested dataclasses are restored by the types of the fields.

    Args:
        kind: the dataclass.
        row: columns by name; those that are not fields, such as ``recorded_at``, are left out.
        values: used instead of the columns of these names.

    Raises:
        KeyError: the row lacks a column that is a field.
    """
    converted = {
        name: row[name] if convert is None else convert(row[name])
        for name, convert in _converters(kind).items()  # type: ignore[arg-type]  # mypy: "type[T]" is not hashable
        if name not in values
    }
    return kind(**converted, **values)


def from_tuples(kind: type[T], columns: Sequence[str], rows: Iterable[Sequence[Any]], **restore: Convert) -> Iterator[T]:
    """Yield a dataclass for each row, quickly and in little memory: equal values of a column are restored once, and shared.

    Args:
        kind: the dataclass.
        columns: names of the values of a row, all of them fields.
        rows: their values can be hashed.
        restore: functions used instead of those that follow from the types of the fields.
    """
    converters = {**_converters(kind), **restore}  # type: ignore[arg-type]  # mypy: "type[T]" is not hashable
    known = [_Restored(converters[name] or _unchanged) for name in columns]
    for row in rows:
        yield kind(**{name: values[value] for name, values, value in zip(columns, known, row, strict=True)})


class _Restored(dict[Any, Any]):
    """The restored values by the stored ones."""

    def __init__(self, restore: Convert) -> None:
        super().__init__()
        self._restore = restore

    def __missing__(self, value: Any) -> Any:
        restored = self[value] = self._restore(value)
        return restored


def recorded(rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return rows with ``recorded_at`` set to now."""
    return [{**row, "recorded_at": now()} for row in rows]


def now() -> str:
    """Return the current time, ISO 8601 in UTC."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@cache
def _converters(kind: Any) -> dict[str, Convert | None]:
    hints = get_type_hints(kind)
    return {field.name: _converter(hints[field.name]) for field in fields(kind)}


def _converter(hint: Any) -> Convert | None:
    """Return the function that restores a value of a type; ``None`` where the value is used unchanged."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin in {Union, UnionType}:
        (restore,) = (_converter(argument) for argument in arguments if argument is not type(None))
        return None if restore is None else lambda value: None if value is None else restore(value)
    if origin is tuple:
        element = _converter(arguments[0]) or _unchanged
        return lambda values: tuple(element(value) for value in values)
    if origin is Mapping:
        key, item = (_converter(argument) or _unchanged for argument in arguments)
        return lambda values: {key(name): item(value) for name, value in values.items()}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    if is_dataclass(hint):
        return lambda row: from_row(hint, row)  # type: ignore[arg-type]  # is_dataclass also admits instances
    return None


def _unchanged(value: Any) -> Any:
    return value
