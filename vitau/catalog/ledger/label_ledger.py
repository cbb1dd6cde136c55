"""The append-only label ledger: answers and merges in one order.

Answers and merges share one sequence of offsets, 1, 2, 3, …, in the order of their commits. An offset therefore names a state
of the ledger, which can be rebuilt at any time. Database triggers refuse changes, deletions and insertions before the end, and
a hash chain (`vitau.catalog.ledger.hash_chain`) shows what bypassed them. A merge records that two subjects are one person.
It rewrites no row: reading applies the merges up to its offset. Only the erasure of a person changes rows: see
:meth:`LabelLedger.forget`.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any, Final

import sqlalchemy as sa

from vitau.catalog.engine import BATCH, retried
from vitau.catalog.ledger.cohorts import Cohorts, check_merge, follow_merges
from vitau.catalog.ledger.hash_chain import (
    START,
    answer_digest,
    broken_rows,
    details_digest,
    is_tombstone,
    merge_digest,
    salted,
)
from vitau.catalog.rows import from_row, from_tuples, recorded, to_row
from vitau.catalog.tables import erasures, ledger, ledger_details, ledger_newest, merges, snapshots, subjects
from vitau.errors import CatalogError, ContradictionError
from vitau.schema import AUS, LedgerEntry, LedgerRow, Mark, Stage, canonical_name, tombstone

_FIELDS: Final = frozenset(field.name for field in fields(LedgerRow))
_REPLACED_BY: Final = ("annotation", "au", "subject", "reader", "stage", "check_kind", "visit", "retracted")
"""The columns that a later row of the ledger has in common with one that it replaces."""
_OWNER_FORGETS: Final = "SELECT to_regprocedure('forget_subject(text)')"
"""Find the function of the owner, where flows connect as a role that cannot change the ledger: see `vitau.catalog.roles`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Merge:
    """Two subjects found to be one person, known as ``kept`` from this ledger offset on, and the reason.

    The reason about an erased person is empty.
    """

    kept: str
    merged: str
    offset: int
    why: str
    recorded_at: str


class LabelLedger(Cohorts):
    """The append-only answers and merges."""

    @retried
    def append_answers(self, answers: Sequence[LedgerRow]) -> int:
        """Append answers to the ledger; return how many are new. Idempotent: known answers are skipped.

        Answers about erased people are left out, except retractions; count them with :meth:`erased_among`.

        Raises:
            CatalogError: an answer is about a person who is not in the catalog.
            ContradictionError: an annotation is answered and retracted under one version.
        """
        with self._writing() as connection:
            first = offset = self._next_offset(connection)
            answers = _check_subjects(connection, answers)
            previous = _head(connection, offset - 1)
            for start in range(0, len(answers), BATCH):
                rows = recorded(_new_rows(connection, answers[start : start + BATCH], offset))
                if rows:
                    previous = _append(connection, ledger, rows, previous)
                    _note_newest(connection, rows)
                offset += len(rows)
        return offset - first

    def erased_among(self, names: Iterable[str]) -> set[str]:
        """Return the names, pseudonyms or tombstones, of people who were erased or whose erasure has begun."""
        erased = set(self._scalars(sa.select(erasures.c.subject)))
        return {name for name in names if name in erased or tombstone(name) in erased}

    @retried
    def ledger(self, *, upto: int | None = None) -> list[LedgerRow]:
        """Return the answers in order, with the canonical names of their subjects.

        Args:
            upto: rebuild the ledger at this offset, with the merges up to there; the newest state by default.
        """
        upto = self.ledger_offset() if upto is None else upto
        with self._reading() as connection:
            return _read_answers(connection, ledger.c.offset <= upto, upto)

    @retried
    def newest_answers(self, *, upto: int | None = None) -> tuple[list[LedgerRow], int]:
        """Return the rows of :meth:`ledger` that no later row replaces, in order, and the offset of the ledger.

        A row is replaced by a later one of the same annotation about the same region, person and visit. The standing answers
        and the shown frames of these rows are those of the whole ledger; the time does not depend on what was replaced.

        Args:
            upto: rebuild the ledger at this offset. Of annotations that changed since, replaced rows are among the answers.
        """
        with self._reading() as connection:
            if upto is None:
                offset = int(connection.scalar(_last_offset()) or 0)
                return _read_answers(connection, ledger.c.offset.in_(sa.select(ledger_newest.c.offset)), offset), offset
            changed = sa.select(ledger.c.annotation).where(ledger.c.offset > upto)
            kept = sa.select(ledger_newest.c.offset).where(ledger_newest.c.offset <= upto)
            replaced = sa.select(ledger.c.offset).where(ledger.c.annotation.in_(changed), ledger.c.offset <= upto)
            return _read_answers(connection, ledger.c.offset.in_(sa.union(kept, replaced)), upto), upto

    @retried
    def answers_about(self, names: Collection[str]) -> list[LedgerRow]:
        """Return the rows of :meth:`ledger` about subjects with these names, merged ones included."""
        with self._reading() as connection:
            offset = int(connection.scalar(_last_offset()) or 0)
            return _read_answers(connection, ledger.c.subject.in_(names), offset)

    def ledger_offsets(self, names: Collection[str]) -> list[int]:
        """Return the offsets of the answers about subjects with these names, as they were at the time of the answer."""
        return list(self._scalars(sa.select(ledger.c.offset).where(ledger.c.subject.in_(names)).order_by(ledger.c.offset)))

    def ledger_entries(self, reader: str, stage: Stage) -> list[LedgerEntry]:
        """Return the annotations of a reader that the ledger holds, in order.

        The subjects have the names at the time of the answer, merged or not, because a pull compares them with the tasks.
        """
        columns = (
            ledger.c.annotation,
            ledger.c.subject,
            ledger.c.version,
            ledger.c.retracted,
            ledger.c.check_kind,
            ledger.c.visit,
        )
        query = sa.select(*columns).where(ledger.c.reader == reader, ledger.c.stage == stage)
        one_region = ledger.c.au == AUS[0]  # an annotation has a row per region: one of them represents it
        return self._load(LedgerEntry, query.where(one_region).order_by(ledger.c.offset))

    def ledger_offset(self) -> int:
        """Return the offset of the last answer or merge, 0 for an empty ledger."""
        return int(self._scalars(_last_offset())[0])

    def ledger_digest(self, offset: int) -> str:
        """Return the head of the hash chain at an offset: the digest of its row, which covers all rows before it."""
        with self._reading() as connection:
            return _head(connection, offset)

    def broken_ledger_rows(self) -> dict[int, str]:
        """Verify the hash chain and the heads that snapshots note; return the reason for each broken row, by offset."""
        with self._reading() as connection:
            rows = [dict(row) for table in (ledger, merges) for row in connection.execute(sa.select(table)).mappings()]
            details = {row["offset"]: dict(row) for row in connection.execute(sa.select(ledger_details)).mappings()}
            columns = snapshots.c.digest, snapshots.c.ledger_offset, snapshots.c.ledger_digest
            noted = connection.execute(sa.select(*columns).where(snapshots.c.ledger_digest.is_not(None)))
            heads = {digest: (offset, head) for digest, offset, head in noted}
        return broken_rows(sorted(rows, key=lambda row: row["offset"]), details, heads)

    def forget(self, names: Collection[str]) -> int:
        """Replace a person's pseudonyms by their tombstones and delete the details; return the number of rows. Idempotent.

        It changes the ledger, the merges and the subjects. The answers remain, about nobody. Delete the person's rows in the
        other tables first. The hash chain still verifies.

        Args:
            names: every pseudonym of the person.

        Raises:
            CatalogError: the person's erasure, a row of ``erasures`` with the tombstone, has not begun or is finished.
        """
        changed = 0
        with self._writing() as connection:
            self._next_offset(connection)  # excludes writers
            for name in sorted(names):
                changed += self._forget(connection, name)
        return changed

    def _forget(self, connection: sa.Connection, name: str) -> int:
        erased = tombstone(name)
        known = connection.execute(sa.select(subjects).where(subjects.c.pseudonym == name)).mappings().first()
        if known is None:
            return 0
        begun = sa.select(erasures.c.subject).where(erasures.c.subject == erased, erasures.c.finished_at.is_(None))
        if connection.scalar(begun) is None:
            raise CatalogError("a person can only be forgotten during an erasure: use `python -m flows erase`")
        nobody = {**known, "pseudonym": erased}
        connection.execute(self._insert_statement(subjects).values(nobody).on_conflict_do_nothing())
        if self.engine.dialect.name == "postgresql" and connection.scalar(sa.text(_OWNER_FORGETS)) is not None:
            changed = int(connection.scalar(sa.select(sa.func.forget_subject(name))) or 0)
        else:
            changed = self._rename(connection, name, erased)
        connection.execute(sa.delete(subjects).where(subjects.c.pseudonym == name))
        return changed

    def _rename(self, connection: sa.Connection, name: str, erased: str) -> int:
        changed = 0
        for column in (ledger.c.subject, merges.c.kept, merges.c.merged):
            renamed = sa.update(column.table).where(column == name).values({column.name: erased})
            changed += connection.execute(renamed).rowcount
            theirs = sa.select(column.table.c.offset).where(column == erased)
            connection.execute(sa.delete(ledger_details).where(ledger_details.c.offset.in_(theirs)))
        return changed

    def merge(self, kept: str, merged: str, *, why: str) -> bool:
        """Record that two subjects are one person, known as ``kept``; return whether that is new.

        Raises:
            CatalogError: one of them is not in the catalog or already merged, they are the same, or ``why`` is empty.
            ContradictionError: they are of different cohorts.
        """
        if not why.strip():
            raise CatalogError("a merge needs a reason: state why the two are one person")
        with self._writing() as connection:
            offset = self._next_offset(connection)
            into = {row.merged: row.kept for row in connection.execute(sa.select(merges))}
            if into.get(merged) == kept:
                return False
            check_merge(kept, merged, self._cohorts(connection), into)
            row = {"kept": kept, "merged": merged, "offset": offset, "note": why.strip(), "frames_shown": [], "marks": []}
            _append(connection, merges, recorded([row]), _head(connection, offset - 1))
        return True

    def merges(self) -> list[Merge]:
        """Return every merge, in the ledger's order."""
        why = sa.func.coalesce(ledger_details.c.note, "").label("why")
        of_merge = ledger_details.c.offset == merges.c.offset
        return self._load(Merge, sa.select(merges, why).outerjoin(ledger_details, of_merge).order_by(merges.c.offset))

    def merged_names(self, *, upto: int | None = None) -> dict[str, str]:
        """Return the canonical name of every subject that was merged into another, up to a ledger offset."""
        query = sa.select(merges.c.merged, merges.c.kept)
        rows = self._rows(query if upto is None else query.where(merges.c.offset <= upto))
        return follow_merges((row["merged"], row["kept"]) for row in rows)

    def pseudonyms(self) -> set[str]:
        """Return every name under which answers are accepted, merged ones included: their tasks may still be open."""
        return {name for name in self._scalars(sa.select(subjects.c.pseudonym)) if not is_tombstone(name)}

    def _next_offset(self, connection: sa.Connection) -> int:
        """Return the offset after the last one, and lock out other writers until the transaction ends."""
        self._lock(connection, "ledger")
        return int(connection.scalar(_last_offset()) or 0) + 1


def _read_answers(connection: sa.Connection, chosen: sa.ColumnElement[bool], upto: int) -> list[LedgerRow]:
    """Return the chosen answers in order, with the names of their subjects at a ledger offset."""
    pairs = connection.execute(sa.select(merges.c.merged, merges.c.kept).where(merges.c.offset <= upto))
    merged = follow_merges(pairs.tuples().all())
    columns = {column.name: column for column in (*ledger.c, ledger_details.c.note) if column.name in _FIELDS}
    columns |= {column.name: sa.cast(column, sa.Text) for column in (ledger_details.c.frames_shown, ledger_details.c.marks)}
    query = sa.select(*columns.values()).select_from(ledger)
    query = query.outerjoin(ledger_details, ledger_details.c.offset == ledger.c.offset).where(chosen)
    rows = connection.execution_options(yield_per=BATCH).execute(query.order_by(ledger.c.offset))
    name_of = partial(canonical_name, merged=merged)
    return list(from_tuples(LedgerRow, list(columns), rows, subject=name_of, frames_shown=_names, marks=_marks))


def _note_newest(connection: sa.Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    """Note appended rows as the newest, in place of those that they replace."""
    newest = {tuple(row[name] for name in _REPLACED_BY): row["offset"] for row in rows}
    query = sa.select(ledger.c.offset, *(ledger.c[name] for name in _REPLACED_BY))
    query = query.join(ledger_newest, ledger_newest.c.offset == ledger.c.offset)
    noted = connection.execute(query.where(ledger.c.annotation.in_({row["annotation"] for row in rows}))).tuples()
    replaced = [offset for offset, *key in noted if tuple(key) in newest]
    connection.execute(sa.delete(ledger_newest).where(ledger_newest.c.offset.in_(replaced)))
    connection.execute(sa.insert(ledger_newest), [{"offset": offset} for offset in newest.values()])


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(json.loads(text)) if text else ()  # none about an erased person


def _marks(text: str | None) -> tuple[Mark, ...]:
    return tuple(from_row(Mark, mark) for mark in json.loads(text)) if text else ()


def _last_offset() -> sa.Select[tuple[int]]:
    last = sa.union_all(sa.select(sa.func.max(ledger.c.offset).label("last")), sa.select(sa.func.max(merges.c.offset)))
    return sa.select(sa.func.coalesce(sa.func.max(last.subquery().c.last), 0))


def _head(connection: sa.Connection, offset: int) -> str:
    """Return the digest of the last row up to an offset."""
    rows = (sa.select(table.c.offset, table.c.digest).where(table.c.offset <= offset) for table in (ledger, merges))
    last = (
        query.order_by(table.c.offset.desc()).limit(1).subquery() for query, table in zip(rows, (ledger, merges), strict=True)
    )
    either = sa.union_all(*map(sa.select, last)).subquery()
    return connection.scalar(sa.select(either.c.digest).order_by(either.c.offset.desc()).limit(1)) or START


def _append(connection: sa.Connection, table: sa.Table, rows: Sequence[dict[str, Any]], previous: str) -> str:
    """Insert rows and their details at the end of the chain; return its new head."""
    compute = merge_digest if table is merges else answer_digest
    details = [salted(row) for row in rows]
    chained = []
    for row, detail in zip(rows, details, strict=True):
        chained.append({name: value for name, value in row.items() if name in table.c} | {"details": details_digest(detail)})
        previous = chained[-1]["digest"] = compute(chained[-1], previous)
    apart = [{"offset": row["offset"], **detail} for row, detail in zip(rows, details, strict=True)]
    connection.execute(sa.insert(ledger_details), apart)
    connection.execute(sa.insert(table), chained)
    return previous


def _check_subjects(connection: sa.Connection, answers: Sequence[LedgerRow]) -> list[LedgerRow]:
    """Return the answers without those about erased people.

    Raises:
        CatalogError: an answer is about a person who is not in the catalog.
    """
    erased = set(connection.scalars(sa.select(erasures.c.subject)))
    known = set(connection.scalars(sa.select(subjects.c.pseudonym)))

    def is_left_out(answer: LedgerRow) -> bool:
        gone = answer.subject in erased or tombstone(answer.subject) in erased
        return gone and not (answer.retracted and answer.subject in known)  # an erasure itself appends retractions

    living = [answer for answer in answers if not is_left_out(answer)]
    unknown = sorted({answer.subject for answer in living} - known)
    if unknown:
        raise CatalogError(f"answers about {len(unknown)} unknown subjects ({unknown[0]}, …): ingest their clips first")
    return living


def _new_rows(connection: sa.Connection, answers: Sequence[LedgerRow], offset: int) -> list[dict[str, Any]]:
    """Return rows, from ``offset`` on, for the answers of a batch that are not in the ledger."""
    known = sa.select(ledger.c.annotation, ledger.c.version, ledger.c.au, ledger.c.retracted)
    known = known.where(ledger.c.annotation.in_({answer.annotation for answer in answers}))
    retracted = {(annotation, version, au): gone for annotation, version, au, gone in connection.execute(known)}
    new: list[dict[str, Any]] = []
    for answer in answers:
        key = answer.annotation, answer.version, answer.au.value
        if key not in retracted:
            new.append(to_row(answer, offset=offset + len(new)))
        if retracted.setdefault(key, answer.retracted) != answer.retracted:
            raise ContradictionError(
                f"annotation {answer.annotation} is answered and retracted under one version, {answer.version}: "
                "a retraction needs a version of its own"
            )
    return new
