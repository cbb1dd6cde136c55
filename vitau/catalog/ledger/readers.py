"""The readers: who is away, and the questions that check them."""

from collections.abc import Iterable

import sqlalchemy as sa

from vitau.catalog.engine import Database
from vitau.catalog.rows import to_row
from vitau.catalog.tables import absences, checks
from vitau.schema import CheckQuestion


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

    def add_checks(self, questions: Iterable[CheckQuestion]) -> int:
        """Record questions that check readers, before they are asked; return how many are new."""
        return self._insert(checks, [to_row(question) for question in questions])

    def checks(self, reader: str) -> list[CheckQuestion]:
        """Return the questions that check a reader, oldest first."""
        query = sa.select(checks).where(checks.c.reader == reader)
        return self._load(CheckQuestion, query.order_by(checks.c.recorded_at, *checks.primary_key))
