"""The erasure of people: their rows are deleted, a tombstone and the ledger's answers remain as an audit trail."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import sqlalchemy as sa

from vitau.catalog.engine import Database
from vitau.catalog.ledger.hash_chain import is_tombstone
from vitau.catalog.rows import now
from vitau.catalog.tables import clips, erased_content, erasures, ingest_claims, key_fingerprints, merges, metadata, subjects
from vitau.errors import ContradictionError
from vitau.schema import is_erased, tombstone

_KEPT: Final = {
    "rekeyings",
    "key_fingerprints",
    "erased_content",
    "subjects",
    "ledger",
    "ledger_details",
    "merges",
    "erasures",
    "snapshots",
    "trainings",
    "promotions",
    "looks",
    "pulls",
}
"""Tables of which no row is deleted: `forget` replaces the person in the ledger, the others name no person."""
_SHORT_DIGEST: Final = 12
"""Characters of a clip's digest in messages, such as the reasons of skipped items."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """The erasure of one pseudonym, with the digests of snapshots and the names of trainings that held the person.

    ``subject`` is the tombstone; catalogs of earlier versions have the pseudonym. ``recorded_at`` is the start, ``finished_at``
    the end; ``None`` while it is unfinished. ``receipt`` says what was deleted and scanned, without an identity; while the
    erasure is unfinished, it has the counts so far.
    """

    subject: str
    recorded_at: str
    finished_at: str | None
    snapshots: Sequence[str]
    trainings: Sequence[str]
    receipt: Mapping[str, Any] | None = None


class Erasures(Database):
    """The append-only audit trail of erasures. It identifies people by tombstones only."""

    def erasures(self) -> list[Erasure]:
        """Return every erasure, oldest first."""
        return self._load(Erasure, sa.select(erasures).order_by(erasures.c.recorded_at, erasures.c.subject))

    def erased_names(self) -> set[str]:
        """Return the tombstones of erased people, and of those whose erasure has begun."""
        return set(self._scalars(sa.select(erasures.c.subject)))

    def check_living(self, names: Collection[str]) -> None:
        """Raise ContradictionError if one of these people was erased, or if the erasure has begun."""
        erased = self.erased_names()
        if any(is_erased(name, erased) for name in names):
            raise ContradictionError("a person was erased and cannot be added again: leave the person out")

    def begin_erasure(self, names: Collection[str]) -> None:
        """Record that the erasure of a person has started; from now on the person can be neither found nor added.

        The pseudonym itself stays in the subjects until the ledger forgets it, so that an interrupted erasure can go on.

        Args:
            names: every pseudonym of the person.
        """
        known = self._rows(sa.select(subjects).where(subjects.c.pseudonym.in_(names)))
        self._insert(subjects, [{**row, "pseudonym": tombstone(row["pseudonym"])} for row in known])
        marks: list[dict[str, Any]] = [
            {"subject": tombstone(name), "finished_at": None, "snapshots": [], "trainings": []} for name in names
        ]
        self._insert(erasures, marks)
        with self._writing() as connection:  # an older version's record: it is finished again, under the tombstone
            connection.execute(sa.delete(erasures).where(erasures.c.subject.in_(names)))

    def claimed_names(self) -> set[str]:
        """Return the pseudonyms of the people with an unfinished ingest; the catalog may know nothing else of them."""
        return set(self._scalars(sa.select(ingest_claims.c.subject)))

    def clips_of(self, names: Collection[str]) -> list[tuple[str, str]]:
        """Return the digest and the suffix of every clip of a person, given all pseudonyms.

        The suffix of a clip whose ingest is unfinished is unknown, and empty.
        """
        recorded = self._rows(sa.select(clips.c.sha256, clips.c.suffix).where(clips.c.subject.in_(names)))
        found = {row["sha256"]: row["suffix"] for row in recorded}
        claimed = self._scalars(sa.select(ingest_claims.c.clip).where(ingest_claims.c.subject.in_(names)))
        return [*found.items(), *((digest, "") for digest in claimed if digest not in found)]

    def delete_rows_of(self, names: Collection[str]) -> int:
        """Delete every row that names a person or one of the person's clips; the ledger keeps its rows. Return their number.

        Args:
            names: every pseudonym of the person.
        """
        traces = {*names, *(digest[:_SHORT_DIGEST] for digest, _ in self.clips_of(names))}
        deleted = 0
        with self._writing() as connection:
            for table in reversed(metadata.sorted_tables):
                texts = [column for column in table.c if isinstance(column.type, sa.String)]
                if table.name in _KEPT or not texts:
                    continue
                found = [column.contains(trace, autoescape=True) for column in texts for trace in sorted(traces)]
                deleted += connection.execute(sa.delete(table).where(sa.or_(*found))).rowcount
        return deleted

    def note_fingerprint(self, name: str, fingerprint: str) -> str:
        """Note the fingerprint of a key unless one is noted; return the noted one."""
        self._insert(key_fingerprints, [{"name": name, "fingerprint": fingerprint}])
        return str(self._scalars(sa.select(key_fingerprints.c.fingerprint).where(key_fingerprints.c.name == name))[0])

    def add_erased_content(self, digests: Collection[str]) -> None:
        """Record keyed digests of an erased person's recordings, so that the same bytes are refused under any name."""
        self._insert(erased_content, [{"digest": digest} for digest in sorted(digests)])

    def is_erased_content(self, digest: str) -> bool:
        """Return whether a recording with this keyed digest was erased."""
        return bool(self._scalars(sa.select(sa.literal(1)).where(erased_content.c.digest == digest)))

    def marks_of(self, names: Collection[str]) -> set[str]:
        """Return the tombstones of a person, also of merged pseudonyms that the ledger has forgotten already."""
        forgotten = self._rows(sa.select(merges.c.merged, merges.c.kept))
        marks = {tombstone(name) for name in names}
        while more := {name for pair in forgotten if marks & {*pair.values()} for name in pair.values()} - marks:
            marks |= more
        return {mark for mark in marks if is_tombstone(mark)}

    def finish_erasure(
        self,
        names: Collection[str],
        *,
        snapshots: Sequence[str],
        trainings: Sequence[str],
        receipt: Mapping[str, Any] | None = None,
    ) -> None:
        """Record that an erasure is finished, the snapshots and trainings that held the person, and the receipt."""
        found = {"finished_at": now(), "snapshots": list(snapshots), "trainings": list(trainings), "receipt": receipt}
        unfinished = erasures.c.subject.in_(self.marks_of(names)) & erasures.c.finished_at.is_(None)
        with self._writing() as connection:
            connection.execute(sa.update(erasures).where(unfinished).values(**found))

    def expect_deletions(self, names: Collection[str], step: str, number: int) -> None:
        """Note, before a step of an unfinished erasure deletes anything, how many things it found.

        An attempt that is killed within the step cannot count what it deleted. The next one finds only the rest: the largest
        number that was noted is that of the whole.
        """
        with self._writing() as connection:
            for mark, noted in self._unfinished_counts(connection, names):
                noted["expected"][step] = max(noted["expected"].get(step, 0), number)
                connection.execute(sa.update(erasures).where(erasures.c.subject == mark).values(receipt=noted))

    def count_deleted(self, names: Collection[str], step: str, number: int) -> int:
        """Add what a step of an unfinished erasure deleted to the counts of all attempts; return their sum for this step."""
        total = number
        with self._writing() as connection:
            for mark, noted in self._unfinished_counts(connection, names):
                total = noted["deleted"].get(step, 0) + max(number, noted["expected"].pop(step, 0))
                noted["deleted"][step] = total
                connection.execute(sa.update(erasures).where(erasures.c.subject == mark).values(receipt=noted))
        return total

    def _unfinished_counts(self, connection: sa.Connection, names: Collection[str]) -> list[tuple[str, dict[str, Any]]]:
        """Return the tombstone and the noted counts of every unfinished erasure of a person."""
        unfinished = erasures.c.subject.in_(self.marks_of(names)) & erasures.c.finished_at.is_(None)
        rows = connection.execute(sa.select(erasures.c.subject, erasures.c.receipt).where(unfinished).with_for_update())
        return [
            (mark, {kind: dict((receipt or {}).get(kind, {})) for kind in ("deleted", "expected")}) for mark, receipt in rows
        ]

    def note_uses(self, names: Collection[str], *, snapshots: Collection[str], trainings: Collection[str]) -> Erasure:
        """Add snapshots and trainings to the record of an unfinished erasure, and return it: a rerun finds them no more."""
        with self._writing() as connection:
            marks = sorted(self.marks_of(names))
            rows = connection.execute(sa.select(erasures).where(erasures.c.subject.in_(marks))).mappings().all()
            used = {
                "snapshots": sorted({*snapshots, *(digest for row in rows for digest in row["snapshots"])}),
                "trainings": sorted({*trainings, *(name for row in rows for name in row["trainings"])}),
            }
            mine = erasures.c.subject.in_(marks) & erasures.c.finished_at.is_(None)
            connection.execute(sa.update(erasures).where(mine).values(**used))
        return next(erasure for erasure in self.erasures() if erasure.subject == marks[0])
