"""Who was erased: of a person the pseudonym is left, so that nobody brings them back, and what the ledger said of it."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from vitau.catalog.engine import Database, now
from vitau.catalog.tables import (
    clips,
    comparisons,
    erasures,
    frame_tables,
    labels,
    priorities,
    scores,
    seen_annotations,
    splits,
    unusable_frames,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """The erasure of one pseudonym: begun, finished, and the snapshots and trainings that had seen the person."""

    subject: str
    recorded_at: str
    finished_at: str | None
    snapshots: Sequence[str]
    trainings: Sequence[str]


class Erasures(Database):
    """The audit trail of erasures. It grows, and names nobody but by a pseudonym."""

    def erasures(self) -> list[Erasure]:
        """Return every erasure, oldest first."""
        return [Erasure(**row) for row in self._rows(sa.select(erasures).order_by(erasures.c.recorded_at, erasures.c.subject))]

    def begin_erasure(self, names: Collection[str]) -> None:
        """Note that the person of these pseudonyms is being erased: from now on nobody finds or adds them."""
        self._insert(erasures, [{"subject": name, "finished_at": None, "snapshots": [], "trainings": []} for name in names])

    def forget(self, names: Collection[str]) -> None:
        """Delete the rows of a person, all but what the ledger keeps."""
        recordings = sa.select(clips.c.sha256).where(clips.c.subject.in_(names))
        with self._writing() as connection:
            shas = connection.scalars(recordings).all()
            for sha in shas:
                connection.execute(sa.delete(unusable_frames).where(unusable_frames.c.frame.startswith(f"{sha}:")))
            connection.execute(sa.delete(frame_tables).where(frame_tables.c.clip.in_(shas)))
            for table in (clips, labels, splits, scores, seen_annotations, priorities, comparisons):
                connection.execute(sa.delete(table).where(table.c.subject.in_(names)))

    def finish_erasure(self, names: Collection[str], *, snapshots: Sequence[str], trainings: Sequence[str]) -> None:
        """Note that nothing of the person is left, and what had seen them."""
        found = {"finished_at": now(), "snapshots": list(snapshots), "trainings": list(trainings)}
        open_ones = erasures.c.subject.in_(names) & erasures.c.finished_at.is_(None)
        with self._writing() as connection:
            connection.execute(sa.update(erasures).where(open_ones).values(**found))
