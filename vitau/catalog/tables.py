"""The catalog's tables in SQLAlchemy. The migrations upgrade a database to this form."""

from collections.abc import Iterable
from typing import Final

import sqlalchemy as sa

from vitau.schema import AUS, Cohort, Side, Split, Stage

metadata: Final = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)


def _one_of(column: str, values: Iterable[str]) -> sa.CheckConstraint:
    quoted = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({quoted})", name=column)


def _subject(*, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column("subject", sa.String, sa.ForeignKey("subjects.pseudonym"), primary_key=primary_key, nullable=False)


def _recorded_at() -> sa.Column[str]:
    return sa.Column("recorded_at", sa.String, nullable=False)  # ISO 8601, UTC


def _chained() -> tuple[sa.Column[str], sa.Column[str]]:
    """Return the digest of a row's details, and the digest of the row and of the one before it."""
    return (
        sa.Column("details", sa.String(64), nullable=False, server_default=""),
        sa.Column("digest", sa.String(64), nullable=False, server_default=""),
    )


subjects = sa.Table(
    "subjects",
    metadata,
    sa.Column("pseudonym", sa.String, primary_key=True),
    sa.Column("cohort", sa.String, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("synthetic", sa.Boolean, nullable=False),
    _recorded_at(),
    _one_of("cohort", Cohort),
)

clips = sa.Table(
    "clips",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    _subject(),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("suffix", sa.String, nullable=False),
    sa.Column("start_s", sa.Float),
    sa.Column("end_s", sa.Float),
    sa.Column("fps", sa.Float),
    sa.Column("mirrored", sa.Boolean, nullable=False),
    sa.Column("synthetic", sa.Boolean, nullable=False),
    sa.Column("consent", sa.String),
    sa.Column("licence", sa.String),
    _recorded_at(),
    sa.Column("revision", sa.Integer, nullable=False, server_default="0"),  # grows when `mirrored` or `fps` is corrected
)

statements = sa.Table(
    "statements",
    metadata,
    sa.Column("clip", sa.String(64), sa.ForeignKey("clips.sha256"), primary_key=True),
    sa.Column("statement", sa.String, primary_key=True),  # digest of the source; empty where it is not known
    sa.Column("number", sa.Integer, nullable=False),  # 1, 2, 3 …: the history of a clip
    sa.Column("mirrored", sa.Boolean, nullable=False),
    sa.Column("fps", sa.Float),
    sa.Column("consent", sa.String),
    sa.Column("licence", sa.String),
    _recorded_at(),
)

ingest_claims = sa.Table(
    "ingest_claims",
    metadata,
    sa.Column("clip", sa.String(64), primary_key=True),  # no foreign keys: clip and person are recorded when the ingest ends
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("cohort", sa.String, nullable=False),
    sa.Column("work", sa.String, nullable=False),  # the lease of the worker
    _recorded_at(),
)

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("name", sa.String, primary_key=True),  # HMAC of the bytes
    sa.Column("deaths", sa.Integer, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    _recorded_at(),
)

source_urls = sa.Table(
    "source_urls",
    metadata,
    sa.Column("url", sa.String, primary_key=True),  # HMAC
    sa.Column("time_range", sa.String, primary_key=True),
    sa.Column("clip", sa.String(64), nullable=False),
    _recorded_at(),
)

url_failures = sa.Table(
    "url_failures",
    metadata,
    sa.Column("url", sa.String, primary_key=True),  # HMAC
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("next_try_at", sa.Float, nullable=False),  # seconds since 1970
    sa.Column("reason", sa.String, nullable=False),
    _recorded_at(),
)

frame_tables = sa.Table(
    "frame_tables",
    metadata,
    sa.Column("clip", sa.String(64), sa.ForeignKey("clips.sha256"), primary_key=True),
    sa.Column("recipe", sa.String, primary_key=True),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("num_frames", sa.Integer, nullable=False),
    sa.Column("num_faces", sa.Integer, nullable=False),
    sa.Column("quarantine_key", sa.String, nullable=False),
    sa.Column("quarantined", sa.JSON, nullable=False),  # reason → number of frames
    _recorded_at(),
)

skipped = sa.Table(
    "skipped",
    metadata,
    sa.Column("source", sa.String, primary_key=True),  # digest of the source: a manifest, a tree
    sa.Column("item", sa.String, primary_key=True),
    sa.Column("reason", sa.String, nullable=False),
    _recorded_at(),
)

ledger = sa.Table(
    "ledger",
    metadata,
    # assigned under a lock by the writer: answers and merges share one sequence, in the order of their commits
    sa.Column("offset", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    _subject(),
    sa.Column("au", sa.String, nullable=False),
    sa.Column("reader", sa.String, nullable=False),
    sa.Column("stage", sa.String, nullable=False),
    sa.Column("affected", sa.Boolean),  # null is "cannot tell"
    sa.Column("side", sa.String),
    sa.Column("annotation", sa.String, nullable=False),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("answered_at", sa.String, nullable=False),
    sa.Column("retracted", sa.Boolean, nullable=False, server_default=sa.false()),  # cancels the answer of this annotation
    sa.Column("suggestion", sa.Float),  # the score that the reader saw, null for a blind answer
    sa.Column("suggested_by", sa.String),
    sa.Column("grade", sa.Integer),  # House–Brackmann
    sa.Column("lead_time_s", sa.Float),
    *_chained(),
    _recorded_at(),
    sa.UniqueConstraint("annotation", "version", "au"),
    _one_of("au", AUS),
    _one_of("stage", Stage),
    _one_of("side", Side),
)

merges = sa.Table(
    "merges",
    metadata,
    sa.Column("merged", sa.String, sa.ForeignKey("subjects.pseudonym"), primary_key=True),  # a subject is merged once
    sa.Column("kept", sa.String, sa.ForeignKey("subjects.pseudonym"), nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),  # in the ledger's sequence
    *_chained(),
    _recorded_at(),
    sa.UniqueConstraint("offset"),
    sa.CheckConstraint("merged <> kept", name="two"),
)

ledger_details = sa.Table(
    "ledger_details",  # kept apart, referenced by digest: an erasure deletes them, and the chain still verifies
    metadata,
    sa.Column("offset", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    sa.Column("salt", sa.String, nullable=False),
    sa.Column("note", sa.String),  # of an answer; the reason of a merge
    sa.Column("frames_shown", sa.JSON, nullable=False),
    sa.Column("marks", sa.JSON, nullable=False),  # [{"frame", "box"}]
)

consensus = sa.Table(
    "consensus",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # 1: the table has one row
    sa.Column("ledger_offset", sa.Integer, nullable=False),  # of the labels; it never goes back
    _recorded_at(),
    sa.CheckConstraint("number = 1", name="number"),
)

unusable_frames = sa.Table(
    "unusable_frames",
    metadata,
    sa.Column("frame", sa.String, primary_key=True),  # "<clip sha256>:<frame index>", marked by a reader
    _recorded_at(),
)

labels = sa.Table(
    "labels",
    metadata,
    _subject(primary_key=True),
    sa.Column("au", sa.String, primary_key=True),  # the primary key guarantees one answer per subject and AU
    sa.Column("affected", sa.Boolean, nullable=False),
    sa.Column("side", sa.String),
    sa.Column("ledger_offset", sa.Integer, nullable=False),
    _recorded_at(),
    _one_of("au", AUS),
    _one_of("side", Side),
)

splits = sa.Table(
    "splits",
    metadata,
    _subject(primary_key=True),
    sa.Column("split", sa.String, nullable=False),
    sa.Column("stratum", sa.String, nullable=False),
    _recorded_at(),
    _one_of("split", Split),
)

snapshots = sa.Table(
    "snapshots",
    metadata,
    sa.Column("digest", sa.String, primary_key=True),
    sa.Column("uri", sa.String, nullable=False),
    sa.Column("ledger_offset", sa.Integer, nullable=False),
    sa.Column("ledger_digest", sa.String(64)),  # of the ledger's row at this offset
    sa.Column("num_frames", sa.Integer, nullable=False),
    sa.Column("subjects", sa.JSON, nullable=False),  # split → number of people
    sa.Column("synthetic", sa.Boolean, nullable=False),
    _recorded_at(),
)

trainings = sa.Table(
    "trainings",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("recipe", sa.String, nullable=False),
    sa.Column("snapshot", sa.String, sa.ForeignKey("snapshots.digest"), nullable=False),
    sa.Column("model_digest", sa.String, nullable=False),
    sa.Column("model_key", sa.String, nullable=False),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("run_id", sa.String, nullable=False),
    sa.Column("metrics", sa.JSON, nullable=False),
    _recorded_at(),
)

scores = sa.Table(
    "scores",
    metadata,
    sa.Column("model_digest", sa.String, primary_key=True),
    _subject(primary_key=True),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("summary", sa.JSON, nullable=False),
    _recorded_at(),
)

pulls = sa.Table(
    "pulls",
    metadata,
    sa.Column("project", sa.String, primary_key=True),  # "<number> <creation time>", Label Studio's
    sa.Column("title", sa.String, nullable=False),
    sa.Column("reader", sa.String, nullable=False),
    sa.Column("stage", sa.String, nullable=False),
    sa.Column("seen_until", sa.String, nullable=False),
    sa.Column("whole_at", sa.String, nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    _recorded_at(),
    _one_of("stage", Stage),
)

seen_annotations = sa.Table(
    "seen_annotations",
    metadata,
    sa.Column("project", sa.String, primary_key=True),
    sa.Column("annotation", sa.String, primary_key=True),
    sa.Column(
        "subject", sa.String, primary_key=True
    ),  # a restored backup reuses numbers; no foreign key: unknown subjects are recorded too
    sa.Column("task", sa.Integer, nullable=False),
    sa.Column("version", sa.String, nullable=False),
    sa.Column("problem", sa.String),
    sa.Column("gone", sa.Boolean, nullable=False),
    sa.Column("held", sa.Boolean, nullable=False),
    _recorded_at(),
)

promotions = sa.Table(
    "promotions",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 …, enforced by a trigger
    sa.Column("model", sa.String, nullable=False),
    sa.Column("once", sa.String, unique=True),  # idempotency key: digest of the inputs; null where a person decided
    sa.Column("record", sa.Text, nullable=False),  # canonical JSON, as it was signed
    sa.Column("signature", sa.String(128), nullable=False),  # Ed25519; 64 digits where it is an HMAC
    _recorded_at(),
)

priorities = sa.Table(
    "priorities",
    metadata,
    _subject(primary_key=True),
    sa.Column("rank", sa.Integer, nullable=False),  # 1 is labeled first
    sa.Column("why", sa.String, nullable=False),
    _recorded_at(),
)

claims = sa.Table(
    "claims",
    metadata,
    sa.Column("work", sa.String, primary_key=True),  # "frames/…" or "scores/…"; it identifies no person
    sa.Column("owner", sa.String, nullable=False),
    sa.Column("expires_at", sa.Float, nullable=False),  # seconds since 1970, PostgreSQL's clock; on SQLite since the boot
    _recorded_at(),
    sa.Column("token", sa.BigInteger, nullable=False, server_default="0"),  # fencing token
    sa.Column("progressed_at", sa.Float),  # same clock as expires_at
    sa.Column("boot", sa.String),  # SQLite: expires_at counts from this boot
)

objects = sa.Table(
    "objects",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("adopted", sa.Boolean, nullable=False),  # found without its writer's digest: its earlier bytes are unknown
    _recorded_at(),
)

lease_tokens = sa.Table(
    "lease_tokens",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # one row, number 1
    sa.Column("last", sa.BigInteger, nullable=False),  # the last fencing token
)

erasures = sa.Table(
    "erasures",
    metadata,
    sa.Column("subject", sa.String, primary_key=True),  # a tombstone, no foreign key: it is entered before the subject's
    sa.Column("finished_at", sa.String),
    sa.Column("snapshots", sa.JSON, nullable=False),  # digests of the snapshots that hold the person
    sa.Column("trainings", sa.JSON, nullable=False),  # name/version of the models that were trained on the person
    sa.Column("receipt", sa.JSON),  # what was deleted and scanned, without an identity
    _recorded_at(),
)

erased_content = sa.Table(
    "erased_content",
    metadata,
    sa.Column("digest", sa.String(64), primary_key=True),  # HMAC of a clip's digest under the pseudonym key
    _recorded_at(),
)

key_fingerprints = sa.Table(
    "key_fingerprints",
    metadata,
    sa.Column("name", sa.String, primary_key=True),  # "pseudonym": the key that made the pseudonyms of this catalog
    sa.Column("fingerprint", sa.String, nullable=False),
    _recorded_at(),
)

comparisons = sa.Table(
    "comparisons",
    metadata,
    _subject(primary_key=True),
    sa.Column("material", sa.String, primary_key=True),  # digest of the person's clips
    sa.Column("shown", sa.String, primary_key=True),  # digest of the frames that were shown
    sa.Column("frames", sa.JSON, nullable=False),  # key frames of these clips
    sa.Column("difference", sa.Float),
    _recorded_at(),
)
