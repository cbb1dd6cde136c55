"""What is known, in rows: people, clips, frame tables, answers, labels, splits, snapshots, trainings, scores.

SQLite by default, PostgreSQL by its URL. Rows are added once and found again: adding what is there is no error and changes
nothing, adding what contradicts it raises. The ledger only grows; triggers in the database refuse anything else.

One module although it is long: it is one class of two short methods per table, and a split would part adding from finding.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from vitau.errors import CatalogError, ContradictionError
from vitau.schema import (
    AU,
    AUS,
    Clip,
    Cohort,
    EvidenceBox,
    LedgerRow,
    PullState,
    RegionLabels,
    Said,
    SeenAnnotation,
    Side,
    Skipped,
    Snapshot,
    Split,
    Stage,
    Subject,
)
from vitau.tables import (
    clips,
    frame_tables,
    labels,
    ledger,
    pulls,
    scores,
    seen_annotations,
    skipped,
    snapshots,
    splits,
    subjects,
    trainings,
    unusable_frames,
)

_BATCH: Final = 1000  # rows per statement; PostgreSQL takes 65 535 parameters


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


class Catalog:
    """The rows behind a database URL. Open one with :func:`open_catalog`."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    def add_subject(self, subject: Subject) -> bool:
        """Add a person; True if new.

        Raises:
            ContradictionError: the person is known under another cohort.
        """
        if self._insert(subjects, [asdict(subject)]):
            return True
        known = self._rows(sa.select(subjects).where(subjects.c.pseudonym == subject.pseudonym))[0]
        if known["cohort"] != subject.cohort:
            raise ContradictionError(
                f"subject {subject.pseudonym} is {known['cohort']} and cannot be {subject.cohort} too: correct the manifest"
            )
        return False

    def subjects(self) -> list[Subject]:
        """Return everybody, by pseudonym."""
        rows = self._rows(sa.select(subjects).order_by(subjects.c.pseudonym))
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
        if owner != clip.subject:
            raise ContradictionError(
                f"clip {clip.sha256[:12]} belongs to subject {owner} and cannot be {clip.subject}'s too: "
                "keep one row of the manifest, or give each person a time range"
            )
        return False

    def clips(self) -> list[Clip]:
        """Return every clip, by subject and digest."""
        rows = self._rows(sa.select(clips).order_by(clips.c.subject, clips.c.sha256))
        return [Clip(**{name: row[name] for name in row if name != "recorded_at"}) for row in rows]

    def add_frame_table(self, table: FrameTable) -> bool:
        """Add the frame table of a clip; True if new."""
        return bool(self._insert(frame_tables, [asdict(table)]))

    def frame_tables(self, recipe: str) -> list[FrameTable]:
        """Return the frame tables made by a recipe (its digest), by clip."""
        rows = self._rows(sa.select(frame_tables).where(frame_tables.c.recipe == recipe).order_by(frame_tables.c.clip))
        return [FrameTable(**{name: row[name] for name in row if name != "recorded_at"}) for row in rows]

    def set_skipped(self, source: str, items: Iterable[Skipped]) -> None:
        """Replace what was left out of a source, and why, by today's list: what works now is no longer on it."""
        rows = [{"source": source, "item": item.item, "reason": item.reason, "recorded_at": _now()} for item in items]
        with _database_errors(), self.engine.begin() as connection:
            connection.execute(sa.delete(skipped).where(skipped.c.source == source))
            if rows:
                connection.execute(sa.insert(skipped), rows)

    def skipped(self) -> list[Skipped]:
        """Return everything that was left out, by source and item."""
        rows = self._rows(sa.select(skipped).order_by(skipped.c.source, skipped.c.item))
        return [Skipped(item=row["item"], reason=row["reason"]) for row in rows]

    def append_answers(self, answers: Sequence[LedgerRow]) -> int:
        """Append answers to the ledger, passing over those already read; returns how many are new.

        Raises:
            CatalogError: an answer about a person who is not in the catalog.
        """
        known = set(self._scalars(sa.select(subjects.c.pseudonym)))
        strangers = sorted({answer.subject for answer in answers} - known)
        if strangers:
            raise CatalogError(f"answers about {len(strangers)} unknown subjects ({strangers[0]}, …): ingest their clips first")
        read = set(self._tuples(sa.select(ledger.c.annotation, ledger.c.version, ledger.c.au)))
        new = [answer for answer in answers if (answer.annotation, answer.version, answer.au) not in read]
        return self._insert(
            ledger,
            [
                {**asdict(answer), "frames_shown": list(answer.frames_shown), "evidence": list(map(asdict, answer.evidence))}
                for answer in new
            ],
        )

    def ledger(self, *, upto: int | None = None) -> list[LedgerRow]:
        """Return the answers in the order in which they came; ``upto`` rebuilds the state at a ledger offset."""
        query = sa.select(ledger).order_by(ledger.c.offset)
        if upto is not None:
            query = query.where(ledger.c.offset <= upto)
        return [_ledger_row(row) for row in self._rows(query)]

    def ledger_offset(self) -> int:
        """Return the offset of the last answer, 0 for an empty ledger."""
        return int(self._scalars(sa.select(sa.func.coalesce(sa.func.max(ledger.c.offset), 0)))[0])

    def add_unusable_frames(self, frames: Iterable[str]) -> int:
        """Note frames (``<clip sha256>:<frame index>``) that a reader calls unusable; returns how many are new."""
        return self._insert(unusable_frames, [{"frame": frame} for frame in sorted(frames)])

    def unusable_frames(self) -> set[str]:
        """Return the frames that a reader called unusable."""
        return set(self._scalars(sa.select(unusable_frames.c.frame)))

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
                "recorded_at": _now(),
            }
            for answer in answers
            for au, affected in answer.affected.items()
        ]
        with _database_errors(), self.engine.begin() as connection:
            connection.execute(sa.delete(labels))
            if rows:
                try:
                    connection.execute(sa.insert(labels), rows)
                except sa.exc.IntegrityError as error:
                    raise ContradictionError(
                        "two answers for one subject and AU, or an answer about an unknown subject: run the consensus again"
                    ) from error

    def labels(self) -> list[RegionLabels]:
        """Return the one answer for each labelled person, by pseudonym."""
        found: dict[str, dict[AU, bool]] = {}
        sides: dict[str, Side] = {}
        for row in self._rows(sa.select(labels).order_by(labels.c.subject)):
            found.setdefault(row["subject"], {})[AU(row["au"])] = row["affected"]
            if row["side"] is not None:
                sides[row["subject"]] = Side(row["side"])
        return [RegionLabels(subject=name, affected=affected, side=sides.get(name)) for name, affected in found.items()]

    def add_splits(self, assigned: Mapping[str, Split], *, strata: Mapping[str, str]) -> int:
        """Record the splits of people who have none; returns how many are new. Nobody is ever moved."""
        return self._insert(
            splits, [{"subject": name, "split": split, "stratum": strata[name]} for name, split in assigned.items()]
        )

    def splits(self) -> dict[str, Split]:
        """Return the recorded split of everybody who has one."""
        return {row["subject"]: Split(row["split"]) for row in self._rows(sa.select(splits).order_by(splits.c.subject))}

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

    def trainings(self, snapshot: str) -> list[Training]:
        """Return the trainings on a snapshot, oldest first."""
        rows = self._rows(sa.select(trainings).where(trainings.c.snapshot == snapshot).order_by(trainings.c.recorded_at))
        return [Training(**{name: row[name] for name in row if name != "recorded_at"}) for row in rows]

    def add_score(self, score: ScoredSubject) -> bool:
        """Add the scores of a person; True if new."""
        return bool(self._insert(scores, [asdict(score)]))

    def scores(self, model_digest: str) -> list[ScoredSubject]:
        """Return the people scored by a model, by pseudonym."""
        rows = self._rows(sa.select(scores).where(scores.c.model_digest == model_digest).order_by(scores.c.subject))
        return [ScoredSubject(**{name: row[name] for name in row if name != "recorded_at"}) for row in rows]

    def pull_states(self) -> list[PullState]:
        """Return how far every project of Label Studio was pulled, oldest first."""
        rows = self._rows(sa.select(pulls).order_by(pulls.c.recorded_at))
        return [
            PullState(**{n: row[n] for n in row if n not in {"recorded_at", "stage"}}, stage=Stage(row["stage"]))
            for row in rows
        ]

    def seen_annotations(self, project: str) -> list[SeenAnnotation]:
        """Return what the last pull of a project saw, by annotation."""
        query = sa.select(seen_annotations).where(seen_annotations.c.project == project)
        rows = self._rows(query.order_by(seen_annotations.c.annotation, seen_annotations.c.subject))
        return [SeenAnnotation(**{n: row[n] for n in row if n not in {"recorded_at", "project"}}) for row in rows]

    def said(self, reader: str, stage: Stage) -> list[Said]:
        """Return what the ledger has of a reader, in its order: every answer is of all regions, so one row stands for it."""
        columns = (ledger.c.annotation, ledger.c.subject, ledger.c.version, ledger.c.retracted)
        query = sa.select(*columns).where(ledger.c.reader == reader, ledger.c.stage == stage, ledger.c.au == AUS[0])
        return [Said(**row) for row in self._rows(query.order_by(ledger.c.offset))]

    def note_seen(self, project: str, seen: Iterable[SeenAnnotation]) -> None:
        """Note the annotations of a project about which something changed; before the ledger is written."""
        self._replace(seen_annotations, [{**asdict(each), "project": project} for each in seen])

    def note_pull(self, state: PullState) -> None:
        """Note how far a project was pulled; when everything up to there is in the ledger."""
        self._replace(pulls, [asdict(state)])

    def _replace(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert the rows, in the place of those with the same key, in one transaction."""
        insert: Any = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[self.engine.dialect.name]
        stamped = [{**row, "recorded_at": _now()} for row in rows]
        with _database_errors(), self.engine.begin() as connection:
            for start in range(0, len(stamped), _BATCH):
                new = insert(table).values(stamped[start : start + _BATCH])
                changed = {column.name: new.excluded[column.name] for column in table.c if not column.primary_key}
                connection.execute(new.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed))

    def forget_pull(self, project: str) -> None:
        """Forget what was seen of a project that is gone for good; its answers stay in the ledger."""
        with _database_errors(), self.engine.begin() as connection:
            connection.execute(sa.delete(seen_annotations).where(seen_annotations.c.project == project))
            connection.execute(sa.delete(pulls).where(pulls.c.project == project))

    def _insert(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert the rows that are not there and return how many were not."""
        if not rows:
            return 0
        insert: Any = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[self.engine.dialect.name]
        stamped = [{**row, "recorded_at": _now()} for row in rows]
        with _database_errors(), self.engine.begin() as connection:
            created = 0
            for start in range(0, len(stamped), _BATCH):
                new = insert(table).values(stamped[start : start + _BATCH]).on_conflict_do_nothing()
                created += len(connection.execute(new.returning(sa.literal(1))).all())
        return created

    def _rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with _database_errors(), self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _tuples(self, query: sa.Select[Any]) -> list[tuple[Any, ...]]:
        with _database_errors(), self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(query)]

    def _scalars(self, query: sa.Select[Any]) -> Sequence[Any]:
        with _database_errors(), self.engine.connect() as connection:
            return connection.scalars(query).all()


def open_catalog(url: str) -> Catalog:
    """Open the catalog at a database URL and bring its tables to today's form.

    Args:
        url: ``sqlite:////absolute/path.db`` or ``postgresql+psycopg://user@host/name``.

    Raises:
        CatalogError: the database cannot be reached, or is newer than this code.
    """
    from alembic.util import CommandError

    try:
        engine = sa.create_engine(url)
    except sa.exc.ArgumentError as error:
        raise CatalogError(
            "the catalog's database URL cannot be read: use sqlite:////path or postgresql+psycopg://…"
        ) from error
    if engine.dialect.name == "sqlite":
        if engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        sa.event.listen(engine, "connect", _prepare_sqlite)
    try:
        with _database_errors():
            _migrate(engine)
    except CommandError as error:
        raise CatalogError(f"the catalog is newer than this code ({error}): update the code") from error
    return Catalog(engine)


def _migrate(engine: sa.Engine) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.begin() as connection:
        if engine.dialect.name == "postgresql":  # two openers at once: the second waits and finds it done
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(20250305)"))
        elif engine.dialect.name == "sqlite":
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        current = MigrationContext.configure(connection).get_current_heads()
        if current != tuple(ScriptDirectory.from_config(config).get_heads()):
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's BEGIN below, not the driver's guess
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def _ledger_row(row: Mapping[str, Any]) -> LedgerRow:
    return LedgerRow(
        subject=row["subject"],
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


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


@contextmanager
def _database_errors() -> Iterator[None]:
    try:
        yield
    except sa.exc.OperationalError as error:
        raise CatalogError(f"the catalog cannot be reached or written: {str(error.orig).strip()}") from error
