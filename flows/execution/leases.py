"""Leases: several workers share one list of work, and each piece is done by one of them.

A worker leases a piece of work before it starts, and renews its leases with a heartbeat. At the end it waits for the other
workers. A lease that is not renewed expires, and leases of dead processes on this machine are released at once.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Final, Self
from uuid import uuid4

from vitau.catalog.leases import Leases
from vitau.errors import CatalogError, LeaseLostError
from vitau.processes import is_gone, process_identity

_HEARTBEATS: Final = 4  # per lease: three may fail
_POLL_S: Final = 0.5
STUCK_S: Final = 2 * 3600.0
"""Seconds without progress after which a worker counts as stuck, and stops renewing its leases."""


class LeaseHolder:
    """The leases of one worker: renewed by a heartbeat thread until the ``with`` block ends, and then released.

    A killed worker renews nothing: other workers take over after ``lease_s``, those on the same machine at once. A worker that
    was suspended for that long loses its leases too, and so does one without progress. It notices before it records a result.

    Args:
        leases: the leases of all workers.
        lease_s: seconds.
        stuck_s: seconds without a call of :meth:`acquire` or :meth:`progress` after which nothing is renewed.
        on_lost: called once, in the heartbeat's thread, when a lease is lost.
    """

    def __init__(
        self, leases: Leases, lease_s: float, *, stuck_s: float = STUCK_S, on_lost: Callable[[], None] | None = None
    ) -> None:
        self._leases, self._lease_s, self._stuck_s, self._on_lost = leases, lease_s, stuck_s, on_lost
        self._owner = f"{process_identity()}:{uuid4().hex}"
        self._held: dict[str, int] = {}
        self._progressed_s = self._marked_s = time.monotonic()
        self._ended = threading.Event()
        self._heartbeat = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Self:
        self._heartbeat.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._heartbeat.join()
        if self._held:
            self.release(tuple(self._held))

    def acquire(self, work: str) -> bool:
        """Acquire the lease of a piece of work; return False if another worker holds it."""
        token = self._leases.acquire_lease(work, self._owner, self._lease_s)
        if token is None:
            return False
        self._held[work] = token
        self.progress()
        return True

    def acquire_some(self, work: Collection[str], number: int) -> list[str]:
        """Acquire the leases of ``number`` of the pieces of work and return their names; acquire none if fewer are free."""
        tokens: dict[str, int] = {}
        with self._leases.transaction():  # two workers that each wait for the other's second lease would wait forever
            for name in work:
                if len(tokens) < number and (token := self._leases.acquire_lease(name, self._owner, self._lease_s)) is not None:
                    tokens[name] = token
            if len(tokens) < number:
                self._leases.release_leases(tokens, self._owner)
                return []
        self._held |= tokens
        self.progress()
        return list(tokens)

    def token(self, work: str) -> int:
        """Return the fencing token of a lease that was acquired."""
        return self._held[work]

    def progress(self) -> None:
        """Mark that the work makes progress."""
        self._progressed_s = time.monotonic()

    def is_held(self, work: str) -> bool:
        """Return whether the lease is still this worker's; ask before a result is recorded."""
        self.progress()
        return work in self._held and self._leases.confirm_lease(work, self._held[work], self._lease_s)

    def require(self, work: str) -> None:
        """Raise LeaseLostError unless the lease is still this worker's."""
        if not self.is_held(work):
            raise LeaseLostError(
                "another worker has taken this work over, because this one was silent, suspended or without progress: "
                "nothing more is written; the other worker completes it"
            )

    def release(self, work: Collection[str]) -> None:
        """Release the leases of pieces of work; call it when their results are in the catalog."""
        self._leases.release_leases(work, self._owner)
        for name in work:
            self._held.pop(name, None)

    def _renew(self) -> None:
        while not self._ended.wait(self._lease_s / _HEARTBEATS):
            progressed_s = self._progressed_s
            held = set(self._held)
            if time.monotonic() - progressed_s > self._stuck_s:
                continue  # without progress: the leases expire, and another worker takes over
            try:
                renewed = self._leases.heartbeat(self._owner, self._lease_s, progressed=progressed_s > self._marked_s)
            except CatalogError:
                continue  # a short outage of the database; after a longer one another worker takes over, and nothing is lost
            self._marked_s = progressed_s
            if held & self._held.keys() - renewed and self._on_lost is not None:
                self._on_lost()
                self._on_lost = None


@contextmanager
def exclusive_lease(
    leases: Leases,
    work: str,
    lease_s: float,
    *,
    stuck_s: float = STUCK_S,
    on_lost: Callable[[], None] | None = None,
    on_wait: Callable[[], None] | None = None,
) -> Iterator[LeaseHolder]:
    """Wait until no other worker holds a piece of work, and hold it in the ``with`` block.

    Args:
        leases: the leases of all workers.
        work: its name.
        lease_s: seconds.
        stuck_s: see :class:`LeaseHolder`.
        on_lost: see :class:`LeaseHolder`.
        on_wait: called once if another worker holds the lease.
    """
    with LeaseHolder(leases, lease_s, stuck_s=stuck_s, on_lost=on_lost) as holder:
        reap_orphaned_leases(leases)
        while not holder.acquire(work):
            if on_wait is not None:
                on_wait()
                on_wait = None
            time.sleep(_POLL_S)
            reap_orphaned_leases(leases)
        yield holder


def open_batches(
    leases: Leases, num_pieces: int, work: Mapping[int, str], done: Collection[int], size: int
) -> Iterator[list[int]]:
    """Yield batches of the indices 0 … ``num_pieces`` − 1 until all pieces of work are done.

    An index that is not done after its batch, because another worker holds its lease, comes again when that worker has finished
    or died.

    Args:
        leases: the leases of all workers.
        num_pieces: number of pieces of work.
        work: index → name of the piece of work; the caller fills it before it asks for the next batch.
        done: indices; the caller fills it before it asks for the next batch.
        size: of a batch.
    """
    reap_orphaned_leases(leases)
    while left := [index for index in range(num_pieces) if index not in done]:
        for start in range(0, len(left), size):
            yield left[start : start + size]
        while (waiting := {work[index] for index in left if index not in done}) and waiting <= leases.leases().keys():
            time.sleep(_POLL_S)
            reap_orphaned_leases(leases)


def reap_orphaned_leases(leases: Leases) -> None:
    """Release the leases of processes of this machine that are gone, without waiting for them to expire."""
    work_by_owner: dict[str, list[str]] = {}
    for work, owner in leases.leases().items():
        work_by_owner.setdefault(owner, []).append(work)
    for owner, work_of_owner in work_by_owner.items():
        if is_gone(owner.rpartition(":")[0]):
            leases.release_leases(work_of_owner, owner)
