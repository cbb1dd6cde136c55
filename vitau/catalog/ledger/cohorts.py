"""The cohorts of people: as a source states them at the ingest, or as they are stated later for people of unknown status.

A statement is appended and never replaced: a database key allows one per person, and a contradiction is an error.
"""

from collections.abc import Collection, Iterable, Mapping

import sqlalchemy as sa

from vitau.catalog.engine import Database
from vitau.catalog.rows import now
from vitau.catalog.tables import erasures, merges, statuses, subjects
from vitau.errors import CatalogError, ContradictionError
from vitau.schema import Cohort, all_names, canonical_name, is_erased


class Cohorts(Database):
    """The cohorts of the people in a database."""

    def state_cohort(self, name: str, cohort: Cohort, *, why: str) -> bool:
        """Append the cohort of a person of unknown status; return False if the person has this cohort already.

        Raises:
            CatalogError: no such person, or ``why`` is empty.
            ContradictionError: the person has the other cohort, or was erased.
            ValueError: the cohort is unknown.
        """
        if cohort is Cohort.UNKNOWN:
            raise ValueError(f"the cohort of {name} can be stated as palsy or control, not taken back to unknown")
        if not why.strip():
            raise CatalogError(f"the cohort of {name} needs a reason: state how it is known")
        with self._writing() as connection:
            erased = set(connection.scalars(sa.select(erasures.c.subject)))
            if is_erased(name, erased):
                raise ContradictionError("the person was erased and cannot have a cohort any more")
            known = self._cohort(connection, name)
            if known is None:
                raise CatalogError(f"no subject {name} is in the catalog: check the pseudonym")
            if known is cohort:
                return False
            self._append_cohort(connection, name, known, cohort, why.strip())
        return True

    def _append_cohort(self, connection: sa.Connection, name: str, known: Cohort, cohort: Cohort, why: str) -> None:
        """Append a statement about a person whose cohort was ``known`` so far.

        Raises:
            ContradictionError: the person has the other cohort.
        """
        if known is not Cohort.UNKNOWN:
            raise ContradictionError(f"subject {name} is {known} and cannot be {cohort} too: correct the manifest")
        person = canonical_name(name, _merged_names(connection))
        row = {"subject": person, "cohort": cohort, "why": why, "recorded_at": now()}
        connection.execute(self._insert_statement(statuses).values(row).on_conflict_do_nothing())
        first = connection.scalar(sa.select(statuses.c.cohort).where(statuses.c.subject == person))
        if first != cohort:  # another process stated it meanwhile
            raise ContradictionError(f"subject {name} is {first} and cannot be {cohort} too: correct the manifest")

    def _cohort(self, connection: sa.Connection, name: str) -> Cohort | None:
        """Return the cohort of a person by any pseudonym of theirs; ``None`` for a person who is not in the catalog."""
        return self._cohorts(connection, all_names(name, _merged_names(connection))).get(name)

    def _cohorts(self, connection: sa.Connection, names: Collection[str] | None = None) -> dict[str, Cohort]:
        """Return the cohort of every person, or of those with one of some names, by pseudonym.

        Merged people have one cohort: the one that was stated of any of them.
        """
        merged = _merged_names(connection)
        ingested = sa.select(subjects.c.pseudonym, subjects.c.cohort)
        later = sa.select(statuses.c.subject, statuses.c.cohort)
        if names is not None:
            ingested = ingested.where(subjects.c.pseudonym.in_(names))
            later = later.where(statuses.c.subject.in_(names))
        rows = connection.execute(ingested).tuples().all()
        people = [name for name, _ in rows]
        stated = {
            canonical_name(name, merged): Cohort(cohort)
            for name, cohort in [*rows, *connection.execute(later).tuples()]
            if cohort != Cohort.UNKNOWN
        }
        return {name: stated.get(canonical_name(name, merged), Cohort.UNKNOWN) for name in people}


def follow_merges(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the canonical name of every merged subject, given pairs of a merged subject and the one that was kept."""
    into: Mapping[str, str] = dict(pairs)
    names = dict(into)
    for name, kept in into.items():
        while kept in into:
            kept = into[kept]  # noqa: PLW2901 - follows the chain of merges to its end
        names[name] = kept
    return names


def check_merge(kept: str, merged: str, cohorts: Mapping[str, Cohort], into: Mapping[str, str]) -> None:
    """Check that two subjects can be one person, given the cohorts of all and the names of merged ones.

    Raises:
        CatalogError: one of them is not in the catalog or already merged, or they are the same.
        ContradictionError: they are of different cohorts.
    """
    if kept == merged:
        raise CatalogError(f"subject {kept} cannot be merged with itself: name two")
    for name in (kept, merged):
        if name not in cohorts:
            raise CatalogError(f"no subject {name} is in the catalog: check the pseudonym")
        if name in into:
            raise CatalogError(f"subject {name} was merged into {into[name]} already: name {into[name]} instead")
    if cohorts[kept] != cohorts[merged] and Cohort.UNKNOWN not in (cohorts[kept], cohorts[merged]):
        raise ContradictionError(
            f"subject {kept} is {cohorts[kept]} and {merged} is {cohorts[merged]}, but a person has one cohort: "
            "correct the manifest"
        )


def _merged_names(connection: sa.Connection) -> dict[str, str]:
    return follow_merges(connection.execute(sa.select(merges.c.merged, merges.c.kept)).tuples().all())
