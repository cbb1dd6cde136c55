"""What is known, in rows: people, clips, frame tables, answers, labels, splits, snapshots, trainings, scores.

Rows are added once and found again: adding what is there is no error and changes nothing, adding what contradicts it raises.
The append-only ledger of answers and merges is in `vitau.catalog.label_ledger`; merged people are one person here.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Final

import sqlalchemy as sa

from vitau.catalog.engine import now, open_engine
from vitau.catalog.erasures import Erasures
from vitau.catalog.label_ledger import Ledger
from vitau.catalog.leases import Claims
from vitau.catalog.promotion_log import Promotions
from vitau.catalog.sync_state import Pulls
from vitau.catalog.tables import (
    clips,
    comparisons,
    erasures,
    frame_tables,
    merges,
    priorities,
    scores,
    skipped,
    snapshots,
    splits,
    subjects,
    trainings,
    unusable_frames,
)
from vitau.errors import ContradictionError
from vitau.schema import Clip, Cohort, Comparison, Skipped, Snapshot, Split, Subject

_STRICTEST: Final = (Split.TEST, Split.VAL, Split.TRAIN)
"""Whose split two merged people have: nobody who was ever tested is trained on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FrameTable:
    """Where the frames of a clip are, and how many passed gate 1. ``quarantined`` counts frames by reason."""

    clip: str
    recipe: str
    key: str
    num_frames: int
    num_faces: int
    quarantine_key: str
    quarantined: Mapping[str, int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Training:
    """A finished training: what went in, what came out, and its version in the registry."""

    key: str
    model: str
    recipe: str
    snapshot: str
    model_digest: str
    model_key: str
    version: int
    run_id: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoredSubject:
    """One person scored by one model: the object that holds the frames' scores, and their summary."""

    model_digest: str
    subject: str
    key: str
    summary: Mapping[str, Any]


class Catalog(Ledger, Pulls, Promotions, Claims, Erasures):
    """The rows behind a database URL. Open one with :func:`open_catalog`."""

    def add_subject(self, subject: Subject) -> bool:
        """Add a person; True if new.

        Raises:
            ContradictionError: the person is known under another cohort, or was erased.
        """
        if subject.pseudonym in self._scalars(sa.select(erasures.c.subject)):
            raise ContradictionError(f"subject {subject.pseudonym} was erased and is not taken in again: correct the manifest")
        if self._insert(subjects, [asdict(subject)]):
            return True
        known = self._rows(sa.select(subjects).where(subjects.c.pseudonym == subject.pseudonym))[0]
        if known["cohort"] != subject.cohort:
            raise ContradictionError(
                f"subject {subject.pseudonym} is {known['cohort']} and cannot be {subject.cohort} too: correct the manifest"
            )
        return False

    def subjects(self) -> list[Subject]:
        """Return everybody, by pseudonym; who was merged into another is not listed again, who was erased not at all."""
        gone = sa.union_all(sa.select(merges.c.merged), sa.select(erasures.c.subject))
        rows = self._rows(sa.select(subjects).where(subjects.c.pseudonym.not_in(gone)).order_by(subjects.c.pseudonym))
        return [
            Subject(pseudonym=row["pseudonym"], cohort=Cohort(row["cohort"]), source=row["source"], synthetic=row["synthetic"])
            for row in rows
        ]

    def add_clip(self, clip: Clip) -> bool:
        """Add a clip; True if new.

        Raises:
            ContradictionError: the same recording belongs to another person.
        """
        if self._insert(clips, [asdict(clip)]):
            return True
        owner = self._rows(sa.select(clips.c.subject).where(clips.c.sha256 == clip.sha256))[0]["subject"]
        names = self.merged()
        if names.get(owner, owner) != names.get(clip.subject, clip.subject):
            raise ContradictionError(
                f"clip {clip.sha256[:12]} belongs to subject {owner} and cannot be {clip.subject}'s too: "
                "keep one row of the manifest, or give each person a time range"
            )
        return False

    def clips(self) -> list[Clip]:
        """Return every clip, by subject and digest; those of a merged person under the name that was kept."""
        names = self.merged()
        found = [Clip(**{name: row[name] for name in row if name != "recorded_at"}) for row in self._rows(sa.select(clips))]
        found = [replace(clip, subject=names.get(clip.subject, clip.subject)) for clip in found]
        return sorted(found, key=lambda clip: (clip.subject, clip.sha256))

    def add_frame_table(self, table: FrameTable) -> bool:
        """Add the frame table of a clip; True if new."""
        return bool(self._insert(frame_tables, [asdict(table)]))

    def frame_tables(self, recipe: str) -> list[FrameTable]:
        """Return the frame tables made by a recipe (its digest), by clip."""
        rows = self._rows(sa.select(frame_tables).where(frame_tables.c.recipe == recipe).order_by(frame_tables.c.clip))
        return [FrameTable(**{name: row[name] for name in row if name != "recorded_at"}) for row in rows]

    def frame_tables_of(self, clip: str) -> list[FrameTable]:
        """Return the frame tables of a clip, by whatever recipe, oldest first."""
        rows = self._rows(sa.select(frame_tables).where(frame_tables.c.clip == clip).order_by(frame_tables.c.recorded_at))
        return [FrameTable(**{name: row[name] for name in row if name != "recorded_at"}) for row in rows]

    def set_skipped(self, source: str, items: Iterable[Skipped]) -> None:
        """Replace what was left out of a source, and why, by today's list: what works now is no longer on it."""
        rows = [{"source": source, "item": item.item, "reason": item.reason, "recorded_at": now()} for item in items]
        with self._writing() as connection:
            connection.execute(sa.delete(skipped).where(skipped.c.source == source))
            if rows:
                connection.execute(sa.insert(skipped), rows)

    def skipped(self) -> list[Skipped]:
        """Return everything that was left out, by source and item."""
        rows = self._rows(sa.select(skipped).order_by(skipped.c.source, skipped.c.item))
        return [Skipped(item=row["item"], reason=row["reason"]) for row in rows]

    def add_unusable_frames(self, frames: Iterable[str]) -> int:
        """Note frames (``<clip sha256>:<frame index>``) that a reader calls unusable; returns how many are new."""
        return self._insert(unusable_frames, [{"frame": frame} for frame in sorted(frames)])

    def unusable_frames(self) -> set[str]:
        """Return the frames that a reader called unusable."""
        return set(self._scalars(sa.select(unusable_frames.c.frame)))

    def add_comparison(self, comparison: Comparison) -> bool:
        """Note how different a person's frames look from those that were shown; True if new."""
        return bool(self._insert(comparisons, [asdict(comparison)]))

    def comparisons(self) -> list[Comparison]:
        """Return every comparison, by subject."""
        rows = self._rows(sa.select(comparisons).order_by(*comparisons.primary_key))
        return [
            Comparison(**{n: row[n] for n in row if n not in {"recorded_at", "frames"}}, frames=tuple(row["frames"]))
            for row in rows
        ]

    def add_splits(self, assigned: Mapping[str, Split], *, strata: Mapping[str, str]) -> int:
        """Record the splits of people who have none; returns how many are new. Nobody is ever moved."""
        return self._insert(
            splits, [{"subject": name, "split": split, "stratum": strata[name]} for name, split in assigned.items()]
        )

    def splits(self) -> dict[str, Split]:
        """Return the split of everybody who has one: as recorded, and of people who were merged the strictest of theirs."""
        names = self.merged()
        found: dict[str, Split] = {}
        for row in self._rows(sa.select(splits)):
            name, split = names.get(row["subject"], row["subject"]), Split(row["split"])
            found[name] = min(split, found.get(name, split), key=_STRICTEST.index)
        return dict(sorted(found.items()))

    def add_snapshot(self, snapshot: Snapshot) -> bool:
        """Add a frozen version of the data set; True if new."""
        return bool(self._insert(snapshots, [asdict(snapshot)]))

    def snapshots(self) -> list[Snapshot]:
        """Return every frozen version, oldest first."""
        rows = self._rows(sa.select(snapshots).order_by(snapshots.c.recorded_at))
        return [
            Snapshot(
                **{name: row[name] for name in row if name not in {"recorded_at", "subjects"}},
                subjects={Split(split): number for split, number in row["subjects"].items()},
            )
            for row in rows
        ]

    def add_training(self, training: Training) -> bool:
        """Add a finished training; True if new."""
        return bool(self._insert(trainings, [asdict(training)]))

    def training(self, key: str) -> Training | None:
        """Return the training with this key, if it was finished."""
        rows = self._rows(sa.select(trainings).where(trainings.c.key == key))
        return Training(**{name: rows[0][name] for name in rows[0] if name != "recorded_at"}) if rows else None

    def trainings(self, snapshot: str | None = None) -> list[Training]:
        """Return all trainings, or those on a snapshot, oldest first."""
        query = sa.select(trainings).order_by(trainings.c.recorded_at)
        rows = self._rows(query if snapshot is None else query.where(trainings.c.snapshot == snapshot))
        return [Training(**{name: row[name] for name in row if name != "recorded_at"}) for row in rows]

    def training_of(self, model_digest: str) -> Training | None:
        """Return the training that made the model with this digest; ``None`` for a model of another catalog."""
        rows = self._rows(sa.select(trainings).where(trainings.c.model_digest == model_digest))
        return Training(**{name: rows[0][name] for name in rows[0] if name != "recorded_at"}) if rows else None

    def add_score(self, score: ScoredSubject) -> bool:
        """Add the scores of a person; True if new."""
        return bool(self._insert(scores, [asdict(score)]))

    def is_scored(self, model_digest: str, subject: str) -> bool:
        """Tell whether a person has a score by a model."""
        return bool(
            self._scalars(sa.select(sa.literal(1)).where(scores.c.model_digest == model_digest, scores.c.subject == subject))
        )

    def last_scored_by(self) -> str | None:
        """Return the digest of the model that scored somebody last: the champion of the last scoring; ``None`` before one."""
        found = self._scalars(sa.select(scores.c.model_digest).order_by(scores.c.recorded_at.desc()).limit(1))
        return str(found[0]) if found else None

    def scores(self, model_digest: str | None = None) -> list[ScoredSubject]:
        """Return the people scored by a model, or by any, by pseudonym."""
        query = sa.select(scores).order_by(scores.c.subject, scores.c.recorded_at)
        rows = self._rows(query if model_digest is None else query.where(scores.c.model_digest == model_digest))
        return [ScoredSubject(**{name: row[name] for name in row if name != "recorded_at"}) for row in rows]

    def set_priorities(self, ordered: Mapping[str, str]) -> None:
        """Replace the list of people whom the readers are asked about first: pseudonym → why, the first one first."""
        rows = [
            {"subject": name, "rank": rank, "why": why, "recorded_at": now()}
            for rank, (name, why) in enumerate(ordered.items(), 1)
        ]
        with self._writing() as connection:
            connection.execute(sa.delete(priorities))
            if rows:
                connection.execute(sa.insert(priorities), rows)

    def priority_subjects(self) -> dict[str, str]:
        """Return whom the readers are asked about first and why, in order; of merged people under the name that was kept."""
        names = self.merged()
        rows = self._rows(sa.select(priorities).order_by(priorities.c.rank))
        found: dict[str, str] = {}
        for row in rows:
            found.setdefault(names.get(row["subject"], row["subject"]), row["why"])
        return found

    def arrivals(self) -> dict[str, str]:
        """Return when each person's first clip came, ISO 8601, UTC; of merged people under the name that was kept."""
        names = self.merged()
        query = sa.select(clips.c.subject, sa.func.min(clips.c.recorded_at).label("first")).group_by(clips.c.subject)
        found: dict[str, str] = {}
        for row in self._rows(query):
            name = names.get(row["subject"], row["subject"])
            found[name] = min(row["first"], found.get(name, row["first"]))
        return found


def open_catalog(url: str) -> Catalog:
    """Open the catalog at a database URL and bring its tables to today's form.

    Args:
        url: ``sqlite:////absolute/path.db`` or ``postgresql+psycopg://user@host/name``.

    Raises:
        CatalogError: the database cannot be reached, or is newer than this code.
    """
    return Catalog(open_engine(url))
