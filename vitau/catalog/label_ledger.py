"""The append-only label ledger: answers and merges in one order, and the labels that the consensus derives from them.

Answers and merges share one sequence of offsets, 1, 2, 3, …, in the order of their commits. An offset therefore names a state
of the ledger, which can be rebuilt at any time. Database triggers refuse changes, deletions and insertions before the end.
A merge records that two subjects are one person. It rewrites no row: reading applies the merges up to its offset.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from vitau.catalog.engine import BATCH, Database
from vitau.catalog.rows import from_row, recorded, to_row
from vitau.catalog.tables import labels, ledger, merges, subjects
from vitau.errors import CatalogError, ContradictionError
from vitau.schema import AU, AUS, LedgerEntry, LedgerRow, RegionLabels, Side, Stage, canonical_name


@dataclass(frozen=True, kw_only=True, slots=True)
class Merge:
    """Two subjects found to be one person, known as ``kept`` from this ledger offset on, and the reason."""

    kept: str
    merged: str
    offset: int
    why: str
    recorded_at: str


class LabelLedger(Database):
    """The append-only answers and merges, and the labels, which every consensus replaces."""

    def append_answers(self, answers: Sequence[LedgerRow]) -> int:
        """Append answers to the ledger; return how many are new. Idempotent: known answers are skipped.

        Raises:
            CatalogError: an answer is about a person who is not in the catalog.
            ContradictionError: an annotation is answered and retracted under one version.
        """
        unknown = sorted({answer.subject for answer in answers} - self.pseudonyms())
        if unknown:
            raise CatalogError(f"answers about {len(unknown)} unknown subjects ({unknown[0]}, …): ingest their clips first")
        with self._writing() as connection:
            first = offset = self._next_offset(connection)
            for start in range(0, len(answers), BATCH):
                rows = _new_rows(connection, answers[start : start + BATCH], offset)
                if rows:
                    connection.execute(sa.insert(ledger), recorded(rows))
                offset += len(rows)
        return offset - first

    def ledger(self, *, upto: int | None = None) -> list[LedgerRow]:
        """Return the answers in order, with the canonical names of their subjects.

        Args:
            upto: rebuild the ledger at this offset, with the merges up to there; the newest state by default.
        """
        upto = self.ledger_offset() if upto is None else upto
        merged = self.merged_names(upto=upto)
        rows = self._rows(sa.select(ledger).where(ledger.c.offset <= upto).order_by(ledger.c.offset))
        return [
            from_row(LedgerRow, row | {"subject": canonical_name(row["subject"], merged), "marks": row["evidence"]})
            for row in rows  # the column of the marks keeps its first name
        ]

    def ledger_subjects(self) -> list[tuple[int, str]]:
        """Return the offset and the subject of every answer, under the name at the time of the answer."""
        return [(row["offset"], row["subject"]) for row in self._rows(sa.select(ledger.c.offset, ledger.c.subject))]

    def ledger_entries(self, reader: str, stage: Stage) -> list[LedgerEntry]:
        """Return the annotations of a reader that the ledger holds, in order.

        The subjects have the names at the time of the answer, merged or not, because a pull compares them with the tasks.
        """
        columns = (ledger.c.annotation, ledger.c.subject, ledger.c.version, ledger.c.retracted)
        query = sa.select(*columns).where(ledger.c.reader == reader, ledger.c.stage == stage)
        one_region = ledger.c.au == AUS[0]  # an annotation has a row per region: one of them represents it
        return self._load(LedgerEntry, query.where(one_region).order_by(ledger.c.offset))

    def ledger_offset(self) -> int:
        """Return the offset of the last answer or merge, 0 for an empty ledger."""
        return int(self._scalars(_last_offset())[0])

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
            people = sa.select(subjects.c.pseudonym, subjects.c.cohort).where(subjects.c.pseudonym.in_([kept, merged]))
            _check_merge(kept, merged, dict(connection.execute(people).tuples().all()), into)
            row = {"kept": kept, "merged": merged, "offset": offset, "why": why.strip()}
            connection.execute(sa.insert(merges), recorded([row]))
        return True

    def merges(self) -> list[Merge]:
        """Return every merge, in the ledger's order."""
        return self._load(Merge, sa.select(merges).order_by(merges.c.offset))

    def merged_names(self, *, upto: int | None = None) -> dict[str, str]:
        """Return the canonical name of every subject that was merged into another, up to a ledger offset."""
        query = sa.select(merges.c.merged, merges.c.kept)
        into = {
            row["merged"]: row["kept"] for row in self._rows(query if upto is None else query.where(merges.c.offset <= upto))
        }
        names = dict(into)
        for name, kept in into.items():
            while kept in into:
                kept = into[kept]  # noqa: PLW2901 - follows the chain of merges to its end
            names[name] = kept
        return names

    def pseudonyms(self) -> set[str]:
        """Return every name under which answers are accepted, merged ones included: their tasks may still be open."""
        return set(self._scalars(sa.select(subjects.c.pseudonym)))

    def set_labels(self, answers: Iterable[RegionLabels], *, ledger_offset: int) -> None:
        """Replace all labels by the consensus at a ledger offset, in one transaction.

        Raises:
            ContradictionError: two answers for one subject and AU.
        """
        rows = [
            {
                "subject": answer.subject,
                "au": au,
                "affected": affected,
                "side": answer.side if affected else None,
                "ledger_offset": ledger_offset,
            }
            for answer in answers
            for au, affected in answer.affected.items()
        ]
        try:
            self._replace_all(labels, rows)
        except sa.exc.IntegrityError as error:
            raise ContradictionError(
                "two answers for one subject and AU, or an answer about an unknown subject: run the consensus again"
            ) from error

    def labels(self) -> list[RegionLabels]:
        """Return the labels of the last consensus, one for each labeled person, by pseudonym."""
        found: dict[str, dict[AU, bool]] = {}
        sides: dict[str, Side] = {}
        for row in self._rows(sa.select(labels).order_by(labels.c.subject)):
            found.setdefault(row["subject"], {})[AU(row["au"])] = row["affected"]
            if row["side"] is not None:
                sides[row["subject"]] = Side(row["side"])
        return [RegionLabels(subject=name, affected=affected, side=sides.get(name)) for name, affected in found.items()]

    def _next_offset(self, connection: sa.Connection) -> int:
        """Return the offset after the last one, and lock out other writers until the transaction ends."""
        if self.engine.dialect.name == "postgresql":
            connection.execute(sa.text("LOCK TABLE ledger IN SHARE ROW EXCLUSIVE MODE"))
        return int(connection.scalar(_last_offset()) or 0) + 1


def _last_offset() -> sa.Select[tuple[int]]:
    last = sa.union_all(sa.select(sa.func.max(ledger.c.offset).label("last")), sa.select(sa.func.max(merges.c.offset)))
    return sa.select(sa.func.coalesce(sa.func.max(last.subquery().c.last), 0))


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


def _check_merge(kept: str, merged: str, cohorts: Mapping[str, str], into: Mapping[str, str]) -> None:
    if kept == merged:
        raise CatalogError(f"subject {kept} cannot be merged with itself: name two")
    for name in (kept, merged):
        if name not in cohorts:
            raise CatalogError(f"no subject {name} is in the catalog: check the pseudonym")
        if name in into:
            raise CatalogError(f"subject {name} was merged into {into[name]} already: name {into[name]} instead")
    if cohorts[kept] != cohorts[merged]:
        raise ContradictionError(
            f"subject {kept} is {cohorts[kept]} and {merged} is {cohorts[merged]}, but a person has one cohort: "
            "correct the manifest"
        )
