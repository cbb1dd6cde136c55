"""The catalog of people, clips, frame tables, splits, snapshots, trainings and scores.

Additions are idempotent: adding a known row changes nothing, adding one that contradicts it raises. Merged people are one
person here. People and clips are in `vitau.catalog.recordings`, answers and merges in `vitau.catalog.ledger.label_ledger`.
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import sqlalchemy as sa

from vitau.catalog.engine import open_engine
from vitau.catalog.evidence import EvidenceLog
from vitau.catalog.intake import Intake
from vitau.catalog.ledger.counts import Counts
from vitau.catalog.ledger.hash_chain import is_tombstone
from vitau.catalog.ledger.labels import Labels
from vitau.catalog.ledger.readers import Readers
from vitau.catalog.promotion_log import PromotionLog
from vitau.catalog.recordings import WITHDRAWN, FrameTable, Recordings
from vitau.catalog.rekeying.journal import Rekeyings
from vitau.catalog.rows import from_row, to_row
from vitau.catalog.sync_state import SyncState
from vitau.catalog.tables import (
    clips,
    comparisons,
    objects,
    priorities,
    scores,
    snapshots,
    splits,
    subjects,
    trainings,
    unusable_frames,
)
from vitau.errors import CatalogError, ContradictionError
from vitau.schema import Clip, Comparison, Protocol, Snapshot, Split, Subject, all_names, canonical_name, is_erased

__all__ = ["Catalog", "FrameTable", "ScoredSubject", "Training", "open_catalog"]

_STRICTEST: Final = (Split.TEST, Split.VAL, Split.TRAIN)
"""The order in which a split wins when two people are merged: a person who was ever tested is never trained on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """A finished training: its inputs, its result and its version in the registry."""

    key: str
    model: str
    recipe: str
    snapshot: str
    model_digest: str
    model_key: str
    version: int
    run_id: str
    metrics: Mapping[str, Any]

    @property
    def protocol(self) -> Protocol:
        """Return how people were kept from the model; ``LOPO`` if it was trained on everybody, after each was left out."""
        return Protocol(self.metrics.get("protocol", Protocol.SUBJECTS))


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredSubject:
    """One person scored by one model: the key of the object with the frames' scores, and their summary."""

    model_digest: str
    subject: str
    key: str
    summary: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ObjectRow:
    """The digest of an object; ``adopted`` if it was computed later, from an object that had none."""

    key: str
    sha256: str
    size: int
    adopted: bool


class Catalog(Recordings, Labels, Readers, Counts, Intake, SyncState, PromotionLog, EvidenceLog, Rekeyings):
    """The catalog in the database at a URL. Open one with :func:`open_catalog`."""

    def add_unusable_frames(self, frames: Iterable[str]) -> int:
        """Add frames (``<clip sha256>:<frame index>``) that a reader marked as unusable; return how many are new."""
        return self._insert(unusable_frames, [{"frame": frame} for frame in sorted(frames)])

    def unusable_frames(self) -> set[str]:
        """Return the frames that a reader marked as unusable."""
        return set(self._scalars(sa.select(unusable_frames.c.frame)))

    def add_comparison(self, comparison: Comparison) -> bool:
        """Add a comparison of a person's frames with those that were shown; return whether it is new."""
        return bool(self._insert(comparisons, [to_row(comparison)]))

    def comparisons(self) -> list[Comparison]:
        """Return every comparison, by subject."""
        return self._load(Comparison, sa.select(comparisons).order_by(*comparisons.primary_key))

    def add_splits(self, assigned: Mapping[str, Split], *, strata: Mapping[str, str]) -> int:
        """Record the splits of people who have none; return how many are new. Assigned people keep their split."""
        return self._insert(
            splits, [{"subject": name, "split": split, "stratum": strata[name]} for name, split in assigned.items()]
        )

    def splits(self) -> dict[str, Split]:
        """Return the split of everyone who has one, by canonical name; merged people get the strictest of theirs."""
        merged = self.merged_names()
        found: dict[str, Split] = {}
        for row in self._rows(sa.select(splits)):
            name, split = canonical_name(row["subject"], merged), Split(row["split"])
            found[name] = min(split, found.get(name, split), key=_STRICTEST.index)
        return dict(sorted(found.items()))

    def add_snapshot(self, snapshot: Snapshot) -> bool:
        """Add a frozen version of the data set; return whether it is new."""
        return bool(self._insert(snapshots, [to_row(snapshot)]))

    def snapshots(self) -> list[Snapshot]:
        """Return every frozen version, oldest first."""
        return self._load(Snapshot, sa.select(snapshots).order_by(snapshots.c.recorded_at))

    def add_training(self, training: Training) -> bool:
        """Add a finished training; return whether it is new."""
        return bool(self._insert(trainings, [to_row(training)]))

    def training(self, key: str) -> Training | None:
        """Return the finished training with this key; ``None`` if there is none."""
        found = self._load(Training, sa.select(trainings).where(trainings.c.key == key))
        return found[0] if found else None

    def trainings(self, snapshot: str | None = None) -> list[Training]:
        """Return all trainings, or those on a snapshot, oldest first."""
        query = sa.select(trainings).order_by(trainings.c.recorded_at)
        return self._load(Training, query if snapshot is None else query.where(trainings.c.snapshot == snapshot))

    def training_of(self, model_digest: str) -> Training | None:
        """Return the training that made the model with this digest; ``None`` for a model of another catalog."""
        found = self._load(Training, sa.select(trainings).where(trainings.c.model_digest == model_digest))
        return found[0] if found else None

    def add_objects(self, found: Iterable[ObjectRow]) -> int:
        """Record the digests of objects; return how many are new. A recorded digest is never replaced."""
        return self._insert(objects, [to_row(row) for row in found])

    def objects(self) -> dict[str, ObjectRow]:
        """Return the recorded digests of objects by key."""
        return {row.key: row for row in self._load(ObjectRow, sa.select(objects).order_by(objects.c.key))}

    def forget_objects(self, keys: Iterable[str]) -> None:
        """Delete the recorded digests of objects that were deleted on purpose."""
        with self._writing() as connection:
            for key in keys:
                connection.execute(sa.delete(objects).where(objects.c.key == key))

    def add_score(self, score: ScoredSubject) -> bool:
        """Add the scores of a person; return whether they are new.

        Raises:
            ContradictionError: the person was erased, or the erasure has begun.
        """
        self.check_living({score.subject})
        try:
            return bool(self._insert(scores, [to_row(score)]))
        except sa.exc.IntegrityError as error:  # the foreign key: an erasure replaced the pseudonym meanwhile
            raise ContradictionError("the person of a score was erased: the score is not kept") from error

    def score(self, model_digest: str, subject: str) -> ScoredSubject | None:
        """Return the score of a person by a model; ``None`` without one."""
        query = sa.select(scores).where(scores.c.model_digest == model_digest, scores.c.subject == subject)
        return next(iter(self._load(ScoredSubject, query)), None)

    def drop_score(self, model_digest: str, subject: str) -> None:
        """Delete the score of a person by a model, whose objects were deleted, so that the person is scored again."""
        with self._writing() as connection:
            found = sa.delete(scores).where(scores.c.model_digest == model_digest, scores.c.subject == subject)
            connection.execute(found)

    def last_scored_by(self) -> str | None:
        """Return the digest of the model of the newest score, the champion of the last scoring; ``None`` before the first."""
        found = self._scalars(sa.select(scores.c.model_digest).order_by(scores.c.recorded_at.desc()).limit(1))
        return str(found[0]) if found else None

    def scores(self, model_digest: str | None = None, *, subjects: Collection[str] | None = None) -> list[ScoredSubject]:
        """Return the people scored by a model, or by any, by pseudonym; with ``subjects``, only people with these names."""
        query = sa.select(scores).order_by(scores.c.subject, scores.c.recorded_at)
        if model_digest is not None:
            query = query.where(scores.c.model_digest == model_digest)
        return self._load(ScoredSubject, query if subjects is None else query.where(scores.c.subject.in_(subjects)))

    def set_priorities(self, ordered: Mapping[str, str]) -> None:
        """Replace the list of people to label first: pseudonym → reason, in order."""
        rows = [{"subject": name, "rank": rank, "why": why} for rank, (name, why) in enumerate(ordered.items(), 1)]
        self._replace_all(priorities, rows)

    def priority_subjects(self) -> dict[str, str]:
        """Return the people to label first in order, canonical name → reason."""
        merged = self.merged_names()
        found: dict[str, str] = {}
        for row in self._rows(sa.select(priorities).order_by(priorities.c.rank)):
            found.setdefault(canonical_name(row["subject"], merged), row["why"])
        return found

    def person(self, name: str) -> Subject:
        """Return a person by canonical name, whether or not the consent was withdrawn.

        Raises:
            CatalogError: nobody has this name.
        """
        found = self._rows(sa.select(subjects).where(subjects.c.pseudonym == name))
        if not found:
            raise CatalogError(f"no subject {name} is in the catalog: check the pseudonym")
        with self._reading() as connection:
            return from_row(Subject, found[0], cohort=self._cohort(connection, name))

    def names_starting(self, start: str) -> list[str]:
        """Return the pseudonyms that begin so, merged ones included, without tombstones."""
        found = self._scalars(sa.select(subjects.c.pseudonym).where(self._starts(subjects.c.pseudonym, start)))
        return sorted(name for name in found if not is_tombstone(name))

    def find_clips(self, *, starting: str | None = None, names: Collection[str] = ()) -> list[Clip]:
        """Return some of the clips of :meth:`clips`: those whose digest begins so, or those of a person with these names."""
        chosen = clips.c.subject.in_(names) if starting is None else self._starts(clips.c.sha256, starting)
        merged, erased = self.merged_names(), self._erased()
        found = self._load(Clip, sa.select(clips).where(chosen))
        found = [replace(clip, subject=canonical_name(clip.subject, merged)) for clip in found]
        people = {name for clip in found for name in all_names(clip.subject, merged)}
        gone = sa.select(clips.c.subject).where(clips.c.subject.in_(people), clips.c.consent == WITHDRAWN)
        withdrawn = {canonical_name(name, merged) for name in self._scalars(gone)}
        living = (clip for clip in found if clip.subject not in withdrawn and not is_erased(clip.subject, erased))
        return sorted(living, key=lambda clip: (clip.subject, clip.sha256))

    def _starts(self, column: sa.Column[str], start: str) -> sa.ColumnElement[bool]:
        """Return the condition that a text begins so, as a range of bytes for which an index is used."""
        text = column if self.engine.dialect.name == "sqlite" else sa.collate(column, "C")
        return sa.and_(text >= start, text < f"{start}\U0010ffff")

    def arrivals(self) -> dict[str, str]:
        """Return the time of each person's first clip, canonical name → ISO 8601 in UTC."""
        merged = self.merged_names()
        query = sa.select(clips.c.subject, sa.func.min(clips.c.recorded_at).label("first")).group_by(clips.c.subject)
        found: dict[str, str] = {}
        for row in self._rows(query):
            name = canonical_name(row["subject"], merged)
            found[name] = min(row["first"], found.get(name, row["first"]))
        return found


def open_catalog(url: str) -> Catalog:
    """Open the catalog at a database URL and upgrade its tables to the newest revision.

    Args:
        url: ``sqlite:////absolute/path.db`` or ``postgresql+psycopg://user@host/name``.

    Raises:
        CatalogError: the database cannot be reached, or is newer than this code.
    """
    return Catalog(open_engine(url))
