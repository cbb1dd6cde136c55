"""The readers: who is away."""

import sqlalchemy as sa

from vitau.catalog.engine import Database
from vitau.catalog.tables import absences


class Readers(Database):
    """The readers of a study, beside their answers."""

    def set_absent(self, reader: str, *, absent: bool = True) -> bool:
        """Record that a reader is away, or back; return whether that is new."""
        if absent:
            return bool(self._insert(absences, [{"reader": reader}]))
        with self._writing() as connection:
            return bool(connection.execute(sa.delete(absences).where(absences.c.reader == reader)).rowcount)

    def absent_readers(self) -> frozenset[str]:
        """Return the readers who are away."""
        return frozenset(self._scalars(sa.select(absences.c.reader)))
