"""The local SeaweedFS keeps names and bytes of deleted objects: an erasure requests its cleaning, which a restart does.

Only this protocol of two files connects the erasure with the supervisor, in `flows.local_stack.object_index`.
"""

import time
from pathlib import Path
from typing import Final

from vitau.errors import StackError, StoreError
from vitau.store import Store
from vitau.store.atomic import write_atomic

REQUEST: Final = "clean.request"
"""Exists from the request until the cleaning is over. The supervisor then restarts SeaweedFS, as every later start does."""
FAILURE: Final = "clean.failed"
"""Exists after a cleaning that failed, with the reason; SeaweedFS is then as before."""


def clean_volumes(state: Path, store: Store, *, timeout_s: float = 300, interval_s: float = 0.5) -> None:
    """Have the SeaweedFS of a state folder cleaned, and wait until it answers again.

    For some seconds S3 does not answer: flows that use it meanwhile repeat their requests, or fail and are run again.

    Raises:
        StackError: the cleaning failed, or no supervisor does it. The next start of the services does it then.
    """
    folder = state / "seaweedfs"
    (folder / FAILURE).unlink(missing_ok=True)
    write_atomic(folder / REQUEST, b"")
    deadline = time.monotonic() + timeout_s
    while (folder / REQUEST).exists() or not _answers(store):
        if time.monotonic() > deadline:
            raise StackError(
                "SeaweedFS still keeps names of deleted objects, because nothing restarts it: "
                "run `python -m flows down` and `up`, and the erasure again"
            )
        time.sleep(interval_s)
    if (folder / FAILURE).exists():
        reason = (folder / FAILURE).read_text()
        raise StackError(f"SeaweedFS still keeps names of deleted objects ({reason}): read its log, and run the erasure again")


def _answers(store: Store) -> bool:
    try:
        next(iter(store.keys()), None)
    except StoreError:
        return False
    return True
