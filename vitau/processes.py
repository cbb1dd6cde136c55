"""Work in processes of its own: side by side, each with one thread, none left behind when the one that started it is gone."""

import ctypes
import os
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context, parent_process
from typing import Final, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_LOOK_S: Final = 2.0
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER: Final = 1 << 30


def side_by_side(work: Callable[[Item], Result], items: Iterable[Item], num_processes: int | None = None) -> Iterator[Result]:
    """Yield what ``work`` makes of each item, in their order, as it becomes ready.

    Items are asked for when there is somebody to do them, one ahead: who shares them with others takes no more than that.

    Args:
        work: can be pickled.
        items: can be pickled.
        num_processes: at once, one per core if absent; with less than two, this process does it all.
    """
    num_processes = num_processes or os.cpu_count() or 1
    if num_processes < 2:
        yield from map(work, items)
        return
    with ProcessPoolExecutor(num_processes, mp_context=get_context("spawn"), initializer=start_worker) as pool:
        coming = iter(items)
        waiting: deque[Future[Result]] = deque(pool.submit(work, item) for item in islice(coming, num_processes + 1))
        while waiting:
            done = waiting.popleft().result()
            waiting.extend(pool.submit(work, item) for item in islice(coming, 1))
            yield done


def start_worker() -> None:
    """Prepare a process of a pool; hand it to the pool as its ``initializer``.

    The work of a pool is already one process per core, so OpenCV gets one thread. A pool whose parent is killed would wait for
    work for ever: a thread looks after the parent and ends the process without it.
    """
    import cv2

    cv2.setNumThreads(1)
    parent = parent_process()  # who started this: it may be dead by now, and this somebody else's child
    threading.Thread(target=_leave_without, args=(parent.pid if parent else os.getppid(),), daemon=True).start()


@contextmanager
def one_thread() -> Iterator[None]:
    """Let OpenCV and torch, where it is loaded, use one thread each.

    The sums of a network depend, in their last bits, on how many threads share them: what must come out the same on every
    machine and in every worker is computed by one.
    """
    import cv2

    torch = sys.modules.get("torch")
    before = cv2.getNumThreads(), torch and torch.get_num_threads()
    cv2.setNumThreads(1)
    if torch is not None:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before[0])
        if torch is not None:
            torch.set_num_threads(before[1])


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees and use it again, up to its peak.

    glibc gives large blocks back to the kernel, which clears every page when they are asked for again: a training step of the
    tiny models took 4 000 to 9 000 page faults and up to a quarter of its time for that. Other C libraries are left alone.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_TRIM_THRESHOLD, _NEVER)
        mallopt(_MMAP_THRESHOLD, _NEVER)


def _leave_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)


def leave_with_starter() -> None:
    """End this process as soon as nobody holds the other end of its stdin: whoever started it is gone, however it died.

    The processes of a `torchrun` share its stdin: they leave together, and `torchrun` then ends too.
    """
    threading.Thread(target=_leave_at_end_of_input, daemon=True).start()


def leave_with_listener() -> None:
    """End this process as soon as nobody reads its stdout, if that is a pipe: whoever reads it is gone, however it died."""
    if stat.S_ISFIFO(os.fstat(1).st_mode):
        threading.Thread(target=_leave_when_unheard, daemon=True).start()


def _leave_when_unheard() -> None:
    poll = select.poll()
    poll.register(1, 0)  # only errors: the other end was closed
    while not poll.poll():
        pass
    os._exit(1)


def _leave_at_end_of_input() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)
