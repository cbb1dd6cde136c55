"""Leases on pieces of work: taken by one worker, extended by its heartbeat, free again when they expire.

Every lease has a fencing token, a number that grows with each lease that is taken. A worker that was suspended, or cut off from
the database, checks its token before it writes a result: after another worker took the work over, the token is not current.
"""

import time
from collections.abc import Collection
from pathlib import Path
from typing import Final

import sqlalchemy as sa

from vitau.catalog.engine import Database, database_errors
from vitau.catalog.rows import now
from vitau.catalog.tables import claims, lease_tokens, rekeyings
from vitau.errors import CatalogError

REKEYING: Final = "rekeying"
"""The lease of a change of the pseudonym key; while a change is unfinished, no other lease is given."""


class Leases(Database):
    """The leases of all workers.

    PostgreSQL's clock decides about expiry, so that the clocks of the workers need not agree. The writers of SQLite share one
    machine: there it is the time since the boot, which nobody can set.
    """

    def acquire_lease(self, work: str, owner: str, lease_s: float) -> int | None:
        """Take the lease on a piece of work for ``lease_s`` seconds; return its fencing token.

        Returns:
            A number larger than that of every lease before it, or ``None`` if another owner has the lease.

        Raises:
            CatalogError: a change of the pseudonym key is unfinished.
        """
        with self._writing() as connection:
            changing = sa.select(rekeyings.c.number).where(rekeyings.c.finished_at.is_(None))
            if work != REKEYING and connection.scalar(changing) is not None:
                raise CatalogError("the pseudonym key is being changed: wait for the end of `python -m flows rekey`")
            next_token = sa.update(lease_tokens).values(last=lease_tokens.c.last + 1).returning(lease_tokens.c.last)
            token = connection.execute(next_token).scalar_one()
            time_s = self._time_s(connection)
            row = {
                "work": work,
                "owner": owner,
                "expires_at": time_s + lease_s,
                "recorded_at": now(),
                "token": token,
                "progressed_at": time_s,
                "boot": self._boot(),
            }
            free = (claims.c.owner == owner) | sa.not_(self._in_force(time_s))
            new = self._insert_statement(claims).values(row)
            taken = new.on_conflict_do_update(index_elements=[claims.c.work], set_=row, where=free)
            return connection.execute(taken.returning(claims.c.token)).scalar()

    def heartbeat(self, owner: str, lease_s: float, *, progressed: bool = False) -> set[str]:
        """Extend all leases of an owner to ``lease_s`` seconds from now; return their pieces of work.

        A lease that expired and was taken by another owner is not among them.

        Args:
            owner: the worker.
            lease_s: seconds.
            progressed: set the progress mark of the leases to now.
        """
        with self._writing() as connection:
            time_s = self._time_s(connection)
            extended = sa.update(claims).where(claims.c.owner == owner).values(expires_at=time_s + lease_s, boot=self._boot())
            if progressed:
                extended = extended.values(progressed_at=time_s)
            return set(connection.scalars(extended.returning(claims.c.work)))

    def confirm_lease(self, work: str, token: int, lease_s: float) -> bool:
        """Extend the lease with a fencing token; return False if the token is not current, because another worker took over."""
        with self._writing() as connection:
            mine = (claims.c.work == work) & (claims.c.token == token)
            extended = sa.update(claims).where(mine).values(expires_at=self._time_s(connection) + lease_s, boot=self._boot())
            return connection.execute(extended.returning(sa.literal(1))).first() is not None

    def release_leases(self, work: Collection[str], owner: str) -> None:
        """Release the leases of an owner on pieces of work; those of other owners remain."""
        with self._writing() as connection:
            connection.execute(sa.delete(claims).where(claims.c.owner == owner, claims.c.work.in_(list(work))))

    def leases(self) -> dict[str, str]:
        """Return the leases in force, work → owner."""
        with database_errors(), self.engine.connect() as connection:
            taken = sa.select(claims.c.work, claims.c.owner).where(self._in_force(self._time_s(connection)))
            return dict(connection.execute(taken).tuples().all())

    def _in_force(self, time_s: float) -> sa.ColumnElement[bool]:
        boot = self._boot()
        in_force = claims.c.expires_at > time_s
        return in_force if boot is None else in_force & claims.c.boot.is_not_distinct_from(boot)

    def _time_s(self, connection: sa.Connection) -> float:
        if self.engine.dialect.name == "sqlite":
            return time.clock_gettime(time.CLOCK_BOOTTIME)
        return float(connection.scalar(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))) or 0)

    def _boot(self) -> str | None:
        """Return the boot of this machine on SQLite, whose leases count from it; ``None`` on PostgreSQL."""
        if self.engine.dialect.name != "sqlite":
            return None
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
