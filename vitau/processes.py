"""What a worker process does first: keep to one thread, and leave when the process that started it is gone."""

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

_LOOK_S: Final = 2.0


def start_worker() -> None:
    """Prepare a process of a pool; hand it to the pool as its ``initializer``.

    The work of a pool is already one process per core, so OpenCV gets one thread. A pool whose parent is killed would wait for
    work for ever: a thread looks after the parent and ends the process without it.
    """
    import cv2

    cv2.setNumThreads(1)
    threading.Thread(target=_leave_without, args=(os.getppid(),), daemon=True).start()


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


def _leave_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)
