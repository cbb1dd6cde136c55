"""A background thread prepares items in their order, passes errors on, and ends with its reader."""

import threading
from collections.abc import Iterator
from itertools import islice

import pytest

from vitau.data.prefetch import WAITING, prefetch


def _numbers(made: list[int], stop: int) -> Iterator[int]:
    for number in range(stop):
        made.append(number)
        yield number


def _threads() -> int:
    return sum(thread.name == "prefetch" for thread in threading.enumerate())


def test_items_come_in_their_order_and_only_a_few_are_prepared_ahead() -> None:
    made: list[int] = []
    items = prefetch(_numbers(made, 50))
    assert made == []
    for number, item in enumerate(items):
        assert item == number
        assert len(made) <= number + 1 + WAITING + 1
    assert len(made) == 50
    assert _threads() == 0


def test_an_item_is_prepared_while_the_one_before_it_is_in_use() -> None:
    prepared = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        prepared.set()
        yield 1

    assert next(prefetch(items())) == 0
    assert prepared.wait(5)


def test_an_error_is_raised_in_place_of_its_item() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise ValueError("no second item")

    given = prefetch(items())
    assert next(given) == 0
    with pytest.raises(ValueError, match="no second item"):
        next(given)
    assert _threads() == 0


def test_the_thread_ends_when_its_reader_stops_early() -> None:
    made: list[int] = []
    items = prefetch(_numbers(made, 1_000_000))
    assert list(islice(items, 3)) == [0, 1, 2]
    items.close()  # type: ignore[attr-defined]
    assert _threads() == 0
    assert len(made) < 10
