"""Items that a thread prepares while the ones before them are in use."""

from collections.abc import Iterator
from contextlib import suppress
from queue import Empty, Queue
from threading import Event, Thread
from typing import Final, TypeVar

T = TypeVar("T")

WAITING: Final = 1
"""Items that wait at most; the thread prepares one more."""


def prefetch(items: Iterator[T]) -> Iterator[T]:
    """Yield the items of an iterator, which a background thread advances ahead of the caller.

    The order is that of the iterator, and so are its random numbers: one thread alone advances it. An exception is raised in
    place of the item that could not be prepared. The thread ends with the items, or when the caller closes this iterator.
    """
    ready: Queue[tuple[T] | BaseException | None] = Queue(WAITING)
    closed = Event()

    def prepare() -> None:
        try:
            for item in items:
                ready.put((item,))
                if closed.is_set():
                    return
            ready.put(None)
        except BaseException as error:  # noqa: BLE001 - the caller's thread raises it
            ready.put(error)

    thread = Thread(target=prepare, name="prefetch", daemon=True)
    thread.start()
    try:
        while (result := ready.get()) is not None:
            if isinstance(result, BaseException):
                raise result
            yield result[0]
    finally:
        closed.set()
        while thread.is_alive():
            with suppress(Empty):
                ready.get(timeout=0.01)
