"""The state of the synchronization with Label Studio: the last known annotations and how far each project was pulled."""

from collections.abc import Iterable

import sqlalchemy as sa

from vitau.catalog.engine import Database
from vitau.catalog.rows import from_row, to_row
from vitau.catalog.tables import pulls, seen_annotations
from vitau.errors import OvertakenError
from vitau.schema import PullState, SeenAnnotation


class SyncState(Database):
    """The bookkeeping of pulls. It can be deleted at any time: the next pull then reads everything."""

    def pull_states(self) -> list[PullState]:
        """Return the state of every project of Label Studio, oldest first."""
        return self._load(PullState, sa.select(pulls).order_by(pulls.c.recorded_at))

    def seen_annotations(self, project: str) -> list[SeenAnnotation]:
        """Return the last known annotations of a project, by annotation."""
        query = sa.select(seen_annotations).where(seen_annotations.c.project == project)
        return self._load(SeenAnnotation, query.order_by(seen_annotations.c.annotation, seen_annotations.c.subject))

    def check_pull(self, project: str, before: PullState | None) -> None:
        """Raise if another process recorded a pull of the project since ``before`` was read. Call it within a transaction.

        What this process read may then be older than what the ledger holds: an old answer would become the newest one.

        Raises:
            OvertakenError: the recorded state is another one.
        """
        with self._writing() as connection:
            self._lock(connection, f"pull {project}")
            query = sa.select(pulls).where(pulls.c.project == project)
            found = [from_row(PullState, dict(row)) for row in connection.execute(query).mappings()]
        if found != ([] if before is None else [before]):
            raise OvertakenError("another round pulled this project at the same time: pull it again")

    def record_seen(self, project: str, seen: Iterable[SeenAnnotation]) -> None:
        """Record the annotations of a project that changed. Call it before the ledger is written."""
        self._replace(seen_annotations, [to_row(annotation, project=project) for annotation in seen])

    def record_pull(self, state: PullState) -> None:
        """Record how far a project was pulled. Call it when everything up to there is in the ledger."""
        self._replace(pulls, [to_row(state)])

    def delete_pull(self, project: str) -> None:
        """Delete the state of a project that no longer exists; its answers stay in the ledger."""
        with self._writing() as connection:
            connection.execute(sa.delete(seen_annotations).where(seen_annotations.c.project == project))
            connection.execute(sa.delete(pulls).where(pulls.c.project == project))
