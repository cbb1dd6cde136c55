"""Work in processes of its own: side by side, each with one thread, none left behind when the one that started it is gone."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK_S: Final = 2.0


def side_by_side(work: Callable[[Item], Result], items: Sequence[Item], num_processes: int | None = None) -> Iterator[Result]:
    """Yield what ``work`` makes of each item, in their order, as it becomes ready.

    Args:
        work: can be pickled.
        items: can be pickled.
        num_processes: at once, one per core if absent; with less than two, or two items, this process does it all.
    """
    num_processes = min(num_processes or os.cpu_count() or 1, len(items))
    if num_processes < 2:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn"), initializer=start_worker) as pool:
        waiting = [pool.submit(work, item) for item in items]
        for outcome in waiting:
            yield outcome.result()


def start_worker() -> None:
    """Prepare a process of a pool; hand it to the pool as its ``initializer``.

    The work of a pool is already one process per core, so OpenCV gets one thread. A pool whose parent is killed would wait for
    work for ever: a thread looks after the parent and ends the process without it.
    """
    import cv2

    cv2.setNumThreads(1)
    threading.Thread(target=_leave_without, args=(os.getppid(),), daemon=True).start()


def _leave_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)
