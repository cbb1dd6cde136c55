"""What the pulls saw in Label Studio, so that the next one reads only what changed and notices what vanished."""

from collections.abc import Iterable
from dataclasses import asdict

import sqlalchemy as sa

from vitau.catalog.engine import Database
from vitau.catalog.tables import pulls, seen_annotations
from vitau.schema import PullState, SeenAnnotation, Stage


class Pulls(Database):
    """The bookkeeping of pulls: it may be forgotten at any time, and the next pull then reads everything."""

    def pull_states(self) -> list[PullState]:
        """Return how far every project of Label Studio was pulled, oldest first."""
        rows = self._rows(sa.select(pulls).order_by(pulls.c.recorded_at))
        return [
            PullState(**{n: row[n] for n in row if n not in {"recorded_at", "stage"}}, stage=Stage(row["stage"]))
            for row in rows
        ]

    def seen_annotations(self, project: str) -> list[SeenAnnotation]:
        """Return what the pulls of a project saw, by annotation."""
        query = sa.select(seen_annotations).where(seen_annotations.c.project == project)
        rows = self._rows(query.order_by(seen_annotations.c.annotation, seen_annotations.c.subject))
        return [SeenAnnotation(**{n: row[n] for n in row if n not in {"recorded_at", "project"}}) for row in rows]

    def note_seen(self, project: str, seen: Iterable[SeenAnnotation]) -> None:
        """Note the annotations of a project about which something changed; before the ledger is written."""
        self._replace(seen_annotations, [{**asdict(each), "project": project} for each in seen])

    def note_pull(self, state: PullState) -> None:
        """Note how far a project was pulled; when everything up to there is in the ledger."""
        self._replace(pulls, [asdict(state)])

    def forget_pull(self, project: str) -> None:
        """Forget what was seen of a project that is gone for good; its answers stay in the ledger."""
        with self._writing() as connection:
            connection.execute(sa.delete(seen_annotations).where(seen_annotations.c.project == project))
            connection.execute(sa.delete(pulls).where(pulls.c.project == project))
