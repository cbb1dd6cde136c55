"""What was said about people, for ever: answers and merges in one order, and the labels that follow from them.

Answers and merges draw their offsets from one sequence, 1, 2, 3 … in the order in which they are committed: a state of the
ledger is named by an offset, and whoever rebuilds it later finds the same. Triggers in the database refuse to change, delete or
slip in anything. A merge says that two subjects are one person; no row is rewritten, reading follows the merges up to its
offset.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Final

import sqlalchemy as sa

from vitau.catalog.engine import BATCH, Database, now
from vitau.catalog.tables import labels, ledger, merges, subjects
from vitau.errors import CatalogError, ContradictionError
from vitau.schema import AU, AUS, EvidenceBox, LedgerEntry, LedgerRow, RegionLabels, Side, Stage

_ANSWER_COLUMNS: Final = tuple(field.name for field in fields(LedgerRow))


@dataclass(frozen=True, kw_only=True, slots=True)
class Merge:
    """Two subjects found to be one person, known as ``kept`` from this ledger offset on, and why."""

    kept: str
    merged: str
    offset: int
    why: str
    recorded_at: str


class Ledger(Database):
    """The rows that only grow, and the labels, which are replaced by each consensus."""

    def append_answers(self, answers: Sequence[LedgerRow]) -> int:
        """Append answers to the ledger, passing over those already read; returns how many are new.

        Raises:
            CatalogError: an answer about a person who is not in the catalog.
            ContradictionError: an answer is taken back under the version that gave it, and would be passed over.
        """
        strangers = sorted({answer.subject for answer in answers} - self.pseudonyms())
        if strangers:
            raise CatalogError(f"answers about {len(strangers)} unknown subjects ({strangers[0]}, …): ingest their clips first")
        with self._writing() as connection:
            first = offset = self._next_offset(connection)
            for start in range(0, len(answers), BATCH):
                rows = _unread(connection, answers[start : start + BATCH], offset)
                if rows:
                    connection.execute(sa.insert(ledger), rows)
                offset += len(rows)
        return offset - first

    def ledger(self, *, upto: int | None = None) -> list[LedgerRow]:
        """Return the answers in the order in which they came; ``upto`` rebuilds the state at a ledger offset.

        Who was merged until then is called by the name that was kept.
        """
        upto = self.ledger_offset() if upto is None else upto
        names = self.merged(upto=upto)
        rows = self._rows(sa.select(ledger).where(ledger.c.offset <= upto).order_by(ledger.c.offset))
        return [_ledger_row(row, names.get(row["subject"], row["subject"])) for row in rows]

    def ledger_subjects(self) -> list[tuple[int, str]]:
        """Return of every answer its offset and about whom it is, under the name that was answered about."""
        return [(row["offset"], row["subject"]) for row in self._rows(sa.select(ledger.c.offset, ledger.c.subject))]

    def said(self, reader: str, stage: Stage) -> list[LedgerEntry]:
        """Return what the ledger has of a reader, in its order: every answer is of all regions, so one row stands for it.

        The names are those under which was answered, merged or not: a pull compares them with the tasks.
        """
        columns = (ledger.c.annotation, ledger.c.subject, ledger.c.version, ledger.c.retracted)
        query = sa.select(*columns).where(ledger.c.reader == reader, ledger.c.stage == stage, ledger.c.au == AUS[0])
        return [LedgerEntry(**row) for row in self._rows(query.order_by(ledger.c.offset))]

    def ledger_offset(self) -> int:
        """Return the offset of the last answer or merge, 0 for an empty ledger."""
        return int(self._scalars(_last_offset())[0])

    def merge(self, kept: str, merged: str, *, why: str) -> bool:
        """Note that two subjects are one person, to be called ``kept``; True if new.

        Raises:
            CatalogError: one of them is not in the catalog, is merged already, or they are the same.
            ContradictionError: they are of different cohorts.
        """
        if not why.strip():
            raise CatalogError("a merge needs its reason: say why the two are one person")
        with self._writing() as connection:
            offset = self._next_offset(connection)
            into = {each.merged: each.kept for each in connection.execute(sa.select(merges))}
            if into.get(merged) == kept:
                return False
            people = sa.select(subjects.c.pseudonym, subjects.c.cohort).where(subjects.c.pseudonym.in_([kept, merged]))
            _check_merge(kept, merged, dict(connection.execute(people).tuples().all()), into)
            row = {"kept": kept, "merged": merged, "offset": offset, "why": why.strip(), "recorded_at": now()}
            connection.execute(sa.insert(merges), [row])
        return True

    def merges(self) -> list[Merge]:
        """Return every merge, in the ledger's order."""
        return [Merge(**row) for row in self._rows(sa.select(merges).order_by(merges.c.offset))]

    def merged(self, *, upto: int | None = None) -> dict[str, str]:
        """Return, for everybody who was merged until a ledger offset, the name that is left of that person."""
        query = sa.select(merges.c.merged, merges.c.kept)
        into = {
            row["merged"]: row["kept"] for row in self._rows(query if upto is None else query.where(merges.c.offset <= upto))
        }
        names = dict(into)
        for name, left in into.items():
            while left in into:
                left = into[left]  # noqa: PLW2901 - follows the chain of merges to its end
            names[name] = left
        return names

    def pseudonyms(self) -> set[str]:
        """Return every name under which answers are taken in: also the merged ones, whose pages may still be open."""
        return set(self._scalars(sa.select(subjects.c.pseudonym)))

    def set_labels(self, answers: Iterable[RegionLabels], *, ledger_offset: int) -> None:
        """Replace the labels by the consensus at a ledger offset, all in one transaction.

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
                "recorded_at": now(),
            }
            for answer in answers
            for au, affected in answer.affected.items()
        ]
        try:
            with self._writing() as connection:
                connection.execute(sa.delete(labels))
                if rows:
                    connection.execute(sa.insert(labels), rows)
        except sa.exc.IntegrityError as error:
            raise ContradictionError(
                "two answers for one subject and AU, or an answer about an unknown subject: run the consensus again"
            ) from error

    def labels(self) -> list[RegionLabels]:
        """Return the one answer for each labelled person, by pseudonym, as the last consensus left it."""
        found: dict[str, dict[AU, bool]] = {}
        sides: dict[str, Side] = {}
        for row in self._rows(sa.select(labels).order_by(labels.c.subject)):
            found.setdefault(row["subject"], {})[AU(row["au"])] = row["affected"]
            if row["side"] is not None:
                sides[row["subject"]] = Side(row["side"])
        return [RegionLabels(subject=name, affected=affected, side=sides.get(name)) for name, affected in found.items()]

    def _next_offset(self, connection: sa.Connection) -> int:
        """Give the offset after the last one, and let nobody else append before this transaction ends."""
        if self.engine.dialect.name == "postgresql":
            connection.execute(sa.text("LOCK TABLE ledger IN SHARE ROW EXCLUSIVE MODE"))
        return int(connection.scalar(_last_offset()) or 0) + 1


def _last_offset() -> sa.Select[tuple[int]]:
    last = sa.union_all(sa.select(sa.func.max(ledger.c.offset).label("last")), sa.select(sa.func.max(merges.c.offset)))
    return sa.select(sa.func.coalesce(sa.func.max(last.subquery().c.last), 0))


def _unread(connection: sa.Connection, answers: Sequence[LedgerRow], offset: int) -> list[dict[str, Any]]:
    """Lay out, from ``offset`` on, the answers of a batch that are not in the ledger; only its annotations are looked up."""
    known = sa.select(ledger.c.annotation, ledger.c.version, ledger.c.au, ledger.c.retracted)
    known = known.where(ledger.c.annotation.in_({answer.annotation for answer in answers}))
    read = {(annotation, version, au): retracted for annotation, version, au, retracted in connection.execute(known)}
    new: list[dict[str, Any]] = []
    for answer in answers:
        key = answer.annotation, answer.version, answer.au.value
        if key not in read:
            new.append(_columns(answer, offset + len(new)))
        if read.setdefault(key, answer.retracted) != answer.retracted:
            raise ContradictionError(
                f"annotation {answer.annotation} is given and taken back in one version, {answer.version}: "
                "a retraction needs a version of its own"
            )
    return new


def _columns(answer: LedgerRow, offset: int) -> dict[str, Any]:
    columns = {name: getattr(answer, name) for name in _ANSWER_COLUMNS}
    evidence = [{"frame": each.frame, "box": list(each.box)} for each in answer.evidence]
    return columns | {"offset": offset, "evidence": evidence, "recorded_at": now()}


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


def _ledger_row(row: Mapping[str, Any], subject: str) -> LedgerRow:
    return LedgerRow(
        subject=subject,
        au=AU(row["au"]),
        reader=row["reader"],
        stage=Stage(row["stage"]),
        affected=row["affected"],
        side=None if row["side"] is None else Side(row["side"]),
        annotation=row["annotation"],
        version=row["version"],
        answered_at=row["answered_at"],
        frames_shown=tuple(row["frames_shown"]),
        note=row["note"],
        retracted=row["retracted"],
        suggestion=row["suggestion"],
        suggested_by=row["suggested_by"],
        grade=row["grade"],
        lead_time_s=row["lead_time_s"],
        evidence=tuple(EvidenceBox(frame=each["frame"], box=tuple(each["box"])) for each in row["evidence"]),
    )
