"""The erasure of people: their rows are deleted, a pseudonym and the ledger's answers remain as an audit trail."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa

from vitau.catalog.engine import Database
from vitau.catalog.rows import now
from vitau.catalog.tables import (
    clips,
    comparisons,
    erasures,
    frame_tables,
    ingest_claims,
    labels,
    priorities,
    scores,
    seen_annotations,
    source_urls,
    splits,
    statements,
    unusable_frames,
)
from vitau.errors import ContradictionError
from vitau.schema import tombstone


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """The erasure of one pseudonym, with the digests of snapshots and the names of trainings that hold the person.

    ``recorded_at`` is its start, ``finished_at`` its end; ``None`` while it is unfinished.
    """

    subject: str
    recorded_at: str
    finished_at: str | None
    snapshots: Sequence[str]
    trainings: Sequence[str]


class Erasures(Database):
    """The append-only audit trail of erasures. It identifies people by pseudonyms only."""

    def erasures(self) -> list[Erasure]:
        """Return every erasure, oldest first."""
        return self._load(Erasure, sa.select(erasures).order_by(erasures.c.recorded_at, erasures.c.subject))

    def erased_names(self) -> set[str]:
        """Return the tombstones of erased people, and the pseudonyms of those whose erasure is unfinished."""
        return set(self._scalars(sa.select(erasures.c.subject)))

    def check_living(self, names: Collection[str]) -> None:
        """Raise ContradictionError if one of these people was erased, or if the erasure has begun."""
        erased = self.erased_names()
        if not erased.isdisjoint({*names, *map(tombstone, names)}):
            raise ContradictionError("a person was erased and cannot be added again: leave the person out")

    def begin_erasure(self, names: Collection[str]) -> None:
        """Record that the erasure of a person has started; from now on the person can be neither found nor added.

        Args:
            names: every pseudonym of the person.
        """
        self._insert(erasures, [{"subject": name, "finished_at": None, "snapshots": [], "trainings": []} for name in names])

    def delete_rows_of(self, names: Collection[str]) -> None:
        """Delete every row of a person, given all pseudonyms; the ledger keeps its rows."""
        recordings = sa.select(clips.c.sha256).where(clips.c.subject.in_(names))
        with self._writing() as connection:
            digests = connection.scalars(recordings).all()
            for digest in digests:
                connection.execute(sa.delete(unusable_frames).where(unusable_frames.c.frame.startswith(f"{digest}:")))
            for of_clips in (frame_tables, statements, source_urls):
                connection.execute(sa.delete(of_clips).where(of_clips.c.clip.in_(digests)))
            for table in (ingest_claims, clips, labels, splits, scores, seen_annotations, priorities, comparisons):
                connection.execute(sa.delete(table).where(table.c.subject.in_(names)))

    def finish_erasure(self, names: Collection[str], *, snapshots: Sequence[str], trainings: Sequence[str]) -> None:
        """Record that an erasure is finished, and the snapshots and trainings that hold the person."""
        found = {"finished_at": now(), "snapshots": list(snapshots), "trainings": list(trainings)}
        unfinished = erasures.c.subject.in_(names) & erasures.c.finished_at.is_(None)
        with self._writing() as connection:
            connection.execute(sa.update(erasures).where(unfinished).values(**found))
