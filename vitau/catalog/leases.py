"""Who is at which piece of work: a claim is a lease, renewed while its owner works, and free again when it runs out."""

import time
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from vitau.catalog.engine import Database, database_errors, now
from vitau.catalog.tables import claims


class Claims(Database):
    """The leases of all workers. Time is the database's, so that the workers' clocks need not agree."""

    def claim(self, work: str, owner: str, lease_s: float) -> bool:
        """Take a piece of work unless somebody else is at it; True if it is now the owner's, for ``lease_s`` seconds."""
        insert: Any = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[self.engine.dialect.name]
        with self._writing() as connection:
            time_s = self._time_s(connection)
            row = {"work": work, "owner": owner, "expires_at": time_s + lease_s, "recorded_at": now()}
            new = insert(claims).values(row)
            free = (claims.c.owner == owner) | (claims.c.expires_at <= time_s)
            taken = new.on_conflict_do_update(index_elements=[claims.c.work], set_=row, where=free)
            return connection.execute(taken.returning(sa.literal(1))).first() is not None

    def renew_claims(self, owner: str, lease_s: float) -> set[str]:
        """Hold everything that the owner still has for another ``lease_s`` seconds, and return it.

        What ran out and was taken by somebody else is not among it.
        """
        with self._writing() as connection:
            renewed = sa.update(claims).where(claims.c.owner == owner).values(expires_at=self._time_s(connection) + lease_s)
            return set(connection.scalars(renewed.returning(claims.c.work)))

    def release(self, work: Collection[str], owner: str) -> None:
        """Give pieces of work back, done or not; those of somebody else stay as they are."""
        with self._writing() as connection:
            connection.execute(sa.delete(claims).where(claims.c.owner == owner, claims.c.work.in_(list(work))))

    def claimed(self) -> dict[str, str]:
        """Return the pieces of work at which somebody is, and who."""
        with database_errors(), self.engine.connect() as connection:
            taken = sa.select(claims.c.work, claims.c.owner).where(claims.c.expires_at > self._time_s(connection))
            return dict(connection.execute(taken).tuples().all())

    def _time_s(self, connection: sa.Connection) -> float:
        if self.engine.dialect.name == "sqlite":  # its writers share one machine
            return time.time()
        return float(connection.scalar(sa.select(sa.extract("epoch", sa.func.clock_timestamp()))) or 0)
