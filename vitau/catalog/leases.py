"""Leases on pieces of work: taken by one worker, extended by its heartbeat, free again when they expire."""

import time
from collections.abc import Collection

import sqlalchemy as sa

from vitau.catalog.engine import Database, database_errors
from vitau.catalog.rows import now
from vitau.catalog.tables import claims


class Leases(Database):
    """The leases of all workers. Expiry is by the database's clock, so the clocks of the workers need not agree."""

    def acquire_lease(self, work: str, owner: str, lease_s: float) -> bool:
        """Take the lease on a piece of work for ``lease_s`` seconds; return False if another owner has it."""
        with self._writing() as connection:
            time_s = self._time_s(connection)
            row = {"work": work, "owner": owner, "expires_at": time_s + lease_s, "recorded_at": now()}
            free = (claims.c.owner == owner) | (claims.c.expires_at <= time_s)
            new = self._insert_statement(claims).values(row)
            taken = new.on_conflict_do_update(index_elements=[claims.c.work], set_=row, where=free)
            return connection.execute(taken.returning(sa.literal(1))).first() is not None

    def heartbeat(self, owner: str, lease_s: float) -> set[str]:
        """Extend all leases of an owner to ``lease_s`` seconds from now; return their pieces of work.

        A lease that expired and was taken by another owner is not among them.
        """
        with self._writing() as connection:
            extended = sa.update(claims).where(claims.c.owner == owner).values(expires_at=self._time_s(connection) + lease_s)
            return set(connection.scalars(extended.returning(claims.c.work)))

    def release_leases(self, work: Collection[str], owner: str) -> None:
        """Release the leases of an owner on pieces of work; those of other owners remain."""
        with self._writing() as connection:
            connection.execute(sa.delete(claims).where(claims.c.owner == owner, claims.c.work.in_(list(work))))

    def leases(self) -> dict[str, str]:
        """Return the leases in force, work → owner."""
        with database_errors(), self.engine.connect() as connection:
            taken = sa.select(claims.c.work, claims.c.owner).where(claims.c.expires_at > self._time_s(connection))
            return dict(connection.execute(taken).tuples().all())

    def _time_s(self, connection: sa.Connection) -> float:
        if self.engine.dialect.name == "sqlite":  # its writers share one machine
            return time.time()
        return float(connection.scalar(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))) or 0)
