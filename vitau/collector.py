"""Python's garbage collector, kept away from imported modules: it finds nothing in them, and visits them again and again."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Final

_SELDOM: Final = 10_000


@contextmanager
def collector_paused() -> Iterator[None]:
    """Pause the garbage collector while modules are imported, and exempt what they hold from all later collections.

    The collector finds nothing in new modules, but would visit their objects many times, and once more at exit: a quarter of
    the processor time of importing torch.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def collect_seldom() -> None:
    """Set the collector of a new process to run once per 10 000 new objects, not per 700; :func:`spare_imports` follows."""
    gc.set_threshold(_SELDOM)


@cache
def spare_imports() -> None:
    """Exempt what a process has imported from all later collections, once, if it began with :func:`collect_seldom`.

    The last collection, at exit, takes as long as importing a third of Prefect. What exists by now is never collected, so other
    processes, such as one that runs tests, are left alone.
    """
    if gc.get_threshold()[0] == _SELDOM:
        gc.freeze()
