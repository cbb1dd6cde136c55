"""People, their clips and frame tables: claims of an ingest, corrections and consent.

A clip is claimed before its first object is written, and the claim ends when the clip is recorded with its frame table. Each
manifest's statement about a clip is kept: the newest one wins, and an old manifest that is read again changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

import sqlalchemy as sa

from vitau.catalog.leases import Leases
from vitau.catalog.ledger.label_ledger import LabelLedger
from vitau.catalog.rows import from_row, now, to_row
from vitau.catalog.tables import clips, erasures, frame_tables, ingest_claims, merges, statements, subjects
from vitau.errors import ContradictionError
from vitau.schema import Clip, Cohort, Subject, canonical_name, is_erased, tombstone

WITHDRAWN: Final = "withdrawn"
"""The consent that ends every use of a person's recordings."""

BY_SOURCE: Final = "the source of the recordings states it"
"""The reason of a cohort that a corrected manifest states of a person of unknown status."""

_CLAIM_LOCK: Final = 20261129  # of PostgreSQL: one claim at a time


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameTable:
    """The objects with the frames of a clip, and their counts; ``quarantined`` has the number of frames by reason."""

    clip: str
    recipe: str
    key: str
    num_frames: int
    num_faces: int
    quarantine_key: str
    quarantined: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class ClaimedClip:
    """A clip as it will be recorded, and the revision of its frames, which grows when ``mirrored`` or ``fps`` is corrected."""

    clip: Clip
    revision: int


@dataclass(frozen=True, kw_only=True, slots=True)
class IngestClaim:
    """An unfinished ingest of a clip for a person; ``work`` is the lease of the worker."""

    clip: str
    subject: str
    cohort: str
    work: str


def withdrawal_or(consent: str | None) -> str | None:
    """Return a consent, with every spelling of :data:`WITHDRAWN` as that word."""
    return WITHDRAWN if consent is not None and consent.strip().lower() == WITHDRAWN else consent


class Recordings(LabelLedger, Leases):
    """The people and clips of a database."""

    def add_subject(self, subject: Subject) -> bool:
        """Add a person; return whether the person is new.

        Raises:
            ContradictionError: the person is known under another cohort or as drawn, or was erased.
        """
        with self._writing() as connection:
            return self._add_subject(connection, subject)

    def subjects(self) -> list[Subject]:
        """Return every person who may be used once, by canonical name; erased and withdrawn people are left out.

        The cohort is the one that was stated of the person, at the ingest or later.
        """
        gone = sa.select(merges.c.merged)
        rows = self._rows(sa.select(subjects).where(subjects.c.pseudonym.not_in(gone)).order_by(subjects.c.pseudonym))
        with self._reading() as connection:
            cohorts = self._cohorts(connection)
        found = [from_row(Subject, row, cohort=cohorts.get(row["pseudonym"], Cohort(row["cohort"]))) for row in rows]
        withdrawn, erased = self.withdrawn_subjects(), self._erased()
        return [subject for subject in found if subject.pseudonym not in withdrawn and not is_erased(subject.pseudonym, erased)]

    def withdrawn_subjects(self) -> set[str]:
        """Return the canonical names of the people who withdrew their consent and are not erased."""
        merged = self.merged_names()
        query = sa.select(clips.c.subject).where(clips.c.consent == WITHDRAWN).distinct()
        return {canonical_name(name, merged) for name in self._scalars(query)}

    def _erased(self) -> set[str]:
        return set(self._scalars(sa.select(erasures.c.subject)))

    def add_clip(self, clip: Clip) -> bool:
        """Add a clip; return whether it is new.

        Raises:
            ContradictionError: the same recording belongs to another person.
        """
        if self._insert(clips, [to_row(clip)]):
            return True
        with self._writing() as connection:
            self._check_clip(connection, clip, statement=None)
        return False

    def clips(self) -> list[Clip]:
        """Return every clip that may be used, with the canonical name of its subject, by subject and digest.

        The clips of people who withdrew their consent, or whose erasure has begun, are left out.
        """
        withdrawn = self.withdrawn_subjects()
        erased = self._erased()
        return [clip for clip in self.all_clips() if clip.subject not in withdrawn and not is_erased(clip.subject, erased)]

    def all_clips(self) -> list[Clip]:
        """Return every clip, also of people who withdrew their consent, as :meth:`clips` does."""
        merged = self.merged_names()
        found = self._load_flat(Clip, clips, subject=partial(canonical_name, merged=merged))
        return sorted(found, key=lambda clip: (clip.subject, clip.sha256))

    def recorded_clip(self, sha256: str) -> ClaimedClip | None:
        """Return a clip by its digest, with the name under which it was ingested; ``None`` if it is unknown."""
        found = self._rows(sa.select(clips).where(clips.c.sha256 == sha256))
        return ClaimedClip(clip=from_row(Clip, found[0]), revision=found[0]["revision"]) if found else None

    def claim_clip(self, subject: Subject, clip: Clip, *, statement: str, work: str) -> ClaimedClip:
        """Claim a clip for a person before its first object is written; idempotent.

        Args:
            subject: the person.
            clip: as the source states it.
            statement: digest of the source; what a known source stated before is no correction.
            work: name of the lease that the caller holds.

        Returns:
            The clip as it is to be recorded: corrected, or as it was recorded.

        Raises:
            ContradictionError: it contradicts the catalog, or another unfinished ingest.
        """
        with self._writing() as connection:
            self._lock_claims(connection)
            claimed = self.check_clip(subject, clip, statement=statement, connection=connection)
            row = {"clip": clip.sha256, "subject": subject.pseudonym, "cohort": subject.cohort, "work": work}
            if self._conflicting(connection, subject, clip):
                raise ContradictionError(
                    "another ingest is working on the same person or clip with another cohort or person: "
                    "correct one manifest, and run this one again"
                )
            new = self._insert_statement(ingest_claims).values({**row, "recorded_at": now()})
            connection.execute(new.on_conflict_do_update(index_elements=[ingest_claims.c.clip], set_={"work": work}))
        return claimed

    def check_clip(
        self, subject: Subject, clip: Clip, *, statement: str, connection: sa.Connection | None = None
    ) -> ClaimedClip:
        """Return a clip as it is to be recorded, as :meth:`claim_clip` does, without a claim.

        Raises:
            ContradictionError: it contradicts the catalog.
        """
        if connection is None:
            with self.engine.connect() as reading:
                return self.check_clip(subject, clip, statement=statement, connection=reading)
        self._check_subject(connection, subject)
        return self._check_clip(connection, clip, statement=statement) or ClaimedClip(clip=clip, revision=0)

    def is_news(self, clip: Clip, statement: str) -> bool:
        """Return whether a source states something about a known clip for the first time."""
        with self.engine.connect() as connection:
            return not self._is_stated(connection, clip.sha256, statement)

    def conflicting_claims(self, subject: Subject, clip: Clip) -> list[IngestClaim]:
        """Return the unfinished claims that exclude a claim, and whose workers are gone."""
        with self.engine.connect() as connection:
            found = self._conflicting(connection, subject, clip)
        working = self.leases()
        return [claim for claim in found if claim.work not in working]

    def ingest_claims(self) -> list[IngestClaim]:
        """Return every unfinished ingest of a clip."""
        return self._load(IngestClaim, sa.select(ingest_claims).order_by(ingest_claims.c.clip))

    def drop_claim(self, clip: str) -> None:
        """Drop the claim on a clip of which no object was written, or whose objects were erased."""
        with self._writing() as connection:
            connection.execute(sa.delete(ingest_claims).where(ingest_claims.c.clip == clip))

    def record_clip(self, subject: Subject, claimed: ClaimedClip, table: FrameTable, *, statement: str, stated: Clip) -> bool:
        """Record a clip, its person and its frame table, and end the claim, in one transaction.

        The frame tables of an older revision are replaced.

        Args:
            subject: the person.
            claimed: the clip as it was claimed.
            table: its frame table.
            statement: digest of the source.
            stated: the clip as the source states it.

        Returns:
            Whether the frame table is new.

        Raises:
            ContradictionError: the person was erased, or has another cohort, since the claim.
        """
        clip = replace(claimed.clip, consent=withdrawal_or(claimed.clip.consent))
        row = to_row(clip, revision=claimed.revision)
        with self._writing() as connection:
            self._lock_claims(connection)
            self._add_subject(connection, subject)
            before = connection.execute(sa.select(clips).where(clips.c.sha256 == clip.sha256)).mappings().first()
            new_clip = self._insert_statement(clips).values({**row, "recorded_at": now()})
            changed = {name: row[name] for name in ("mirrored", "fps", "consent", "licence", "visit", "taken_at", "revision")}
            connection.execute(new_clip.on_conflict_do_update(index_elements=[clips.c.sha256], set_=changed))
            self._add_statement(connection, None if before is None else from_row(Clip, dict(before)), stated, statement)
            if before is not None and before["revision"] != claimed.revision:
                connection.execute(sa.delete(frame_tables).where(frame_tables.c.clip == clip.sha256))
            new_table = self._insert_statement(frame_tables).values({**to_row(table), "recorded_at": now()})
            added = connection.execute(new_table.on_conflict_do_nothing().returning(sa.literal(1))).all()
            connection.execute(sa.delete(ingest_claims).where(ingest_claims.c.clip == clip.sha256))
        return bool(added)

    def add_frame_table(self, table: FrameTable) -> bool:
        """Add the frame table of a clip; return whether it is new."""
        return bool(self._insert(frame_tables, [to_row(table)]))

    def frame_tables(self, recipe: str) -> list[FrameTable]:
        """Return the frame tables made by a recipe, given its digest, of the clips that may be used, by clip."""
        usable = {clip.sha256 for clip in self.clips()}
        query = sa.select(frame_tables).where(frame_tables.c.recipe == recipe)
        return [table for table in self._load(FrameTable, query.order_by(frame_tables.c.clip)) if table.clip in usable]

    def frame_tables_of(self, clip: str) -> list[FrameTable]:
        """Return the frame tables of a clip by any recipe, oldest first."""
        query = sa.select(frame_tables).where(frame_tables.c.clip == clip)
        return self._load(FrameTable, query.order_by(frame_tables.c.recorded_at))

    def _add_subject(self, connection: sa.Connection, subject: Subject) -> bool:
        if self._check_subject(connection, subject):
            known = self._cohort(connection, subject.pseudonym)
            if known is Cohort.UNKNOWN and subject.cohort is not known:
                self._append_cohort(connection, subject.pseudonym, known, subject.cohort, BY_SOURCE)
            return False
        new = self._insert_statement(subjects).values({**to_row(subject), "recorded_at": now()})
        if connection.execute(new.on_conflict_do_nothing().returning(sa.literal(1))).all():
            return True
        self._check_subject(connection, subject)  # another process added the person meanwhile
        return False

    def _check_subject(self, connection: sa.Connection, subject: Subject) -> bool:
        """Return whether a person is known; raise ContradictionError if the catalog says otherwise."""
        name = subject.pseudonym
        erased = sa.select(erasures.c.subject).where(erasures.c.subject.in_([name, tombstone(name)]))
        if connection.scalar(erased) is not None:
            raise ContradictionError(f"subject {name} was erased and cannot be added again: correct the manifest")
        known = connection.execute(sa.select(subjects).where(subjects.c.pseudonym == name)).mappings().first()
        if known is None:
            return False
        cohort = self._cohort(connection, name)
        if cohort != subject.cohort and Cohort.UNKNOWN not in (cohort, subject.cohort):
            raise ContradictionError(f"subject {name} is {cohort} and cannot be {subject.cohort} too: correct the manifest")
        if known["synthetic"] != subject.synthetic:
            raise ContradictionError(f"subject {name} cannot be both drawn and real: correct the source in the manifest")
        return True

    def _check_clip(self, connection: sa.Connection, clip: Clip, *, statement: str | None) -> ClaimedClip | None:
        """Return a known clip with its corrections, ``None`` for a new one; raise ContradictionError."""
        row = connection.execute(sa.select(clips).where(clips.c.sha256 == clip.sha256)).mappings().first()
        if row is None:
            return None
        merged = self.merged_names()
        if canonical_name(row["subject"], merged) != canonical_name(clip.subject, merged):
            raise ContradictionError(
                f"clip {clip.sha256[:12]} belongs to subject {row['subject']} and cannot be {clip.subject}'s too: "
                "keep one row of the manifest, or give each person a time range"
            )
        fixed = [name for name in ("start_s", "end_s", "synthetic") if row[name] != getattr(clip, name)]
        fixed += ["source"] if row["subject"] == clip.subject and row["source"] != clip.source else []
        if fixed:
            raise ContradictionError(
                f"clip {clip.sha256[:12]} is recorded with another {' and '.join(fixed)}, which cannot be changed: "
                "correct the manifest"
            )
        known = from_row(Clip, dict(row))
        if statement is None or self._is_stated(connection, clip.sha256, statement):
            return ClaimedClip(clip=known, revision=row["revision"])
        recut = (known.mirrored, known.fps) != (clip.mirrored, clip.fps)
        corrected = replace(
            known,
            mirrored=clip.mirrored,
            fps=clip.fps,
            consent=self._newest_consent(connection, known, clip),
            licence=clip.licence or known.licence,
            visit=clip.visit or known.visit,
            taken_at=clip.taken_at or known.taken_at,
        )
        return ClaimedClip(clip=corrected, revision=row["revision"] + recut)

    def _is_stated(self, connection: sa.Connection, clip: str, statement: str) -> bool:
        known = sa.select(statements.c.number).where(statements.c.clip == clip, statements.c.statement == statement)
        return connection.scalar(known) is not None

    def _newest_consent(self, connection: sa.Connection, known: Clip, stated: Clip) -> str | None:
        """Return the consent after a statement; only a consent that was never stated before lifts a withdrawal."""
        consent = withdrawal_or(stated.consent) or known.consent
        if known.consent == WITHDRAWN and consent != WITHDRAWN:
            before = connection.scalars(sa.select(statements.c.consent).where(statements.c.clip == known.sha256))
            return WITHDRAWN if consent in set(before) else consent
        return consent

    def _add_statement(self, connection: sa.Connection, before: Clip | None, stated: Clip, statement: str) -> None:
        """Append what a source states about a clip to the history, once per source."""
        if self._is_stated(connection, stated.sha256, statement):
            return
        last = connection.scalar(sa.select(sa.func.max(statements.c.number)).where(statements.c.clip == stated.sha256))
        rows = [(statement, stated)]
        if last is None and before is not None:  # recorded before there was a history
            rows.insert(0, ("", before))
        for number, (name, clip) in enumerate(rows, start=(last or 0) + 1):
            values = {
                "mirrored": clip.mirrored,
                "fps": clip.fps,
                "consent": withdrawal_or(clip.consent),
                "licence": clip.licence,
                "visit": clip.visit,
                "taken_at": clip.taken_at,
            }
            row = {"clip": clip.sha256, "statement": name, "number": number, **values, "recorded_at": now()}
            connection.execute(sa.insert(statements).values(row))

    def _conflicting(self, connection: sa.Connection, subject: Subject, clip: Clip) -> list[IngestClaim]:
        """Return the claims on the clip for another person, and those for the person with the other known cohort."""
        name = subject.pseudonym
        other_person = (ingest_claims.c.clip == clip.sha256) & (ingest_claims.c.subject != name)
        same = {subject.cohort, Cohort.UNKNOWN} if subject.cohort is not Cohort.UNKNOWN else set(Cohort)
        other_cohort = (ingest_claims.c.subject == name) & ingest_claims.c.cohort.not_in(same)
        found = connection.execute(sa.select(ingest_claims).where(other_person | other_cohort)).mappings()
        return [from_row(IngestClaim, dict(row)) for row in found]

    def _lock_claims(self, connection: sa.Connection) -> None:
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CLAIM_LOCK)))
