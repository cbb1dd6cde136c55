"""What a process does first: a worker keeps to one thread and leaves with its parent; a training keeps freed memory."""

import ctypes
import os
import threading
import time
from typing import Final

_LOOK_S: Final = 2.0
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER: Final = 1 << 30


def start_worker() -> None:
    """Prepare a process of a pool; hand it to the pool as its ``initializer``.

    The work of a pool is already one process per core, so OpenCV gets one thread. A pool whose parent is killed would wait for
    work for ever: a thread looks after the parent and ends the process without it.
    """
    import cv2

    cv2.setNumThreads(1)
    threading.Thread(target=_leave_without, args=(os.getppid(),), daemon=True).start()


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
