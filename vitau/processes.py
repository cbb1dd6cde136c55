"""What a worker process does first: keep to one thread, and leave when the process that started it is gone."""

import os
import threading
import time
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


def _leave_without(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_LOOK_S)
    os._exit(1)
