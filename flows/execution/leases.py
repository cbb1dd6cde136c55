"""Leases: several workers share one list of work, and each piece is done by one of them.

A worker leases a piece of work before it starts, and renews its leases with a heartbeat. At the end it waits for the other
workers. A lease that is not renewed expires, and leases of dead processes on this machine are released at once.
"""

import os
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

import psutil

from vitau.catalog.leases import Leases
from vitau.errors import CatalogError

_HEARTBEATS: Final = 4  # per lease: three may fail
_POLL_S: Final = 0.5


class LeaseHolder:
    """The leases of one worker: renewed by a heartbeat thread until the ``with`` block ends, and then released.

    A killed worker renews nothing: other workers take over after ``lease_s``, those on the same machine at once. A worker that
    was suspended for that long loses its leases too. That is safe, since both workers write the same objects and rows.
    """

    def __init__(self, leases: Leases, lease_s: float) -> None:
        self._leases, self._lease_s = leases, lease_s
        self._owner = f"{_machine()}:{os.getpid()}:{_started_at_s(os.getpid()):.0f}:{uuid4().hex}"
        self._held: set[str] = set()
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
        if self._leases.acquire_lease(work, self._owner, self._lease_s):
            self._held.add(work)
            return True
        return False

    def release(self, work: Collection[str]) -> None:
        """Release the leases of pieces of work; call it when their results are in the catalog."""
        self._leases.release_leases(work, self._owner)
        self._held.difference_update(work)

    def _renew(self) -> None:
        while not self._ended.wait(self._lease_s / _HEARTBEATS):
            try:
                self._leases.heartbeat(self._owner, self._lease_s)
            except CatalogError:
                continue  # a short outage of the database; after a longer one another worker takes over, and nothing is lost


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
        machine, pid, started_at_s, _ = owner.split(":") if owner.count(":") == 3 else ("", "", "", "")
        if machine == _machine() and abs(_started_at_s(int(pid)) - float(started_at_s)) > 1:
            leases.release_leases(work_of_owner, owner)


@cache
def _machine() -> str:
    """Return a name of the scope of process numbers: this boot of this machine, and the container."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    return sha256(f"{boot}{Path('/proc/self/ns/pid').readlink()}".encode()).hexdigest()[:16]


def _started_at_s(pid: int) -> float:
    """Return the start of a process in seconds since 1970, 0 if it is gone."""
    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return 0.0
