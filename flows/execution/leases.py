"""How several workers share one list of work: each takes what nobody else is at, and waits for the others at the end."""

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

from vitau.catalog.leases import Claims
from vitau.errors import CatalogError

_RENEWALS: Final = 4  # per lease: three may fail
_LOOK_S: Final = 0.5


class Holding:
    """The claims of one worker, renewed by a thread of its own until the ``with`` ends, which gives them back.

    A worker that is killed renews nothing: others on its machine see that it is gone, all others take over what it had after
    ``lease_s``. One that only slept so long loses it as well; what it then writes is what the other one wrote.
    """

    def __init__(self, claims: Claims, lease_s: float) -> None:
        self._claims, self._lease_s = claims, lease_s
        self._owner = f"{_here()}:{os.getpid()}:{_started(os.getpid()):.0f}:{uuid4().hex}"
        self._held: set[str] = set()
        self._ended = threading.Event()
        self._renewing = threading.Thread(target=self._renew, daemon=True)

    def __enter__(self) -> Self:
        self._renewing.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._renewing.join()
        if self._held:
            self.release(tuple(self._held))

    def take(self, work: str) -> bool:
        """Claim a piece of work; False if somebody else is at it."""
        if self._claims.claim(work, self._owner, self._lease_s):
            self._held.add(work)
            return True
        return False

    def release(self, work: Collection[str]) -> None:
        """Give pieces of work back, after what came of them is in the catalog."""
        self._claims.release(work, self._owner)
        self._held.difference_update(work)

    def _renew(self) -> None:
        while not self._ended.wait(self._lease_s / _RENEWALS):
            try:
                self._claims.renew_claims(self._owner, self._lease_s)
            except CatalogError:
                continue  # the database is away for a moment; if for longer, somebody else may take over, and nothing is lost


def shares(claims: Claims, number: int, works: Mapping[int, str], done: Collection[int], size: int) -> Iterator[list[int]]:
    """Hand out the places 0 … ``number`` − 1 in batches until all of them are done.

    A place that is not done when its batch is, since somebody else is at it, comes again when that one has finished or died.

    Args:
        claims: of all workers.
        number: of pieces of work.
        works: place → the name of its work; the caller fills it before it comes for the next batch.
        done: places; the caller fills it likewise.
        size: of a batch.
    """
    release_the_dead(claims)
    while left := [place for place in range(number) if place not in done]:
        for start in range(0, len(left), size):
            yield left[start : start + size]
        while (busy := {works[place] for place in left if place not in done}) and busy <= claims.claimed().keys():
            time.sleep(_LOOK_S)
            release_the_dead(claims)


def release_the_dead(claims: Claims) -> None:
    """Give back what processes of this machine had that are gone: nobody need wait for their lease to end."""
    owners: dict[str, list[str]] = {}
    for work, owner in claims.claimed().items():
        owners.setdefault(owner, []).append(work)
    for owner, works in owners.items():
        here, pid, started, _ = owner.split(":") if owner.count(":") == 3 else ("", "", "", "")
        if here == _here() and abs(_started(int(pid)) - float(started)) > 1:
            claims.release(works, owner)


@cache
def _here() -> str:
    """Name what a process number means something to: this boot of this machine, and the container."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text()
    return sha256(f"{boot}{Path('/proc/self/ns/pid').readlink()}".encode()).hexdigest()[:16]


def _started(pid: int) -> float:
    """Say when a process began, seconds since 1970; 0 if it is gone."""
    try:
        process = psutil.Process(pid)
        return 0.0 if process.status() == psutil.STATUS_ZOMBIE else float(process.create_time())
    except psutil.NoSuchProcess:
        return 0.0
