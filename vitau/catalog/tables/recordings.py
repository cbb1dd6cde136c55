"""The tables of people and their clips: what was ingested, what failed, and the frame tables."""

import sqlalchemy as sa

from vitau.catalog.tables.base import metadata, one_of, recorded_at, subject
from vitau.schema import KNOWN_COHORTS, Cohort

subjects = sa.Table(
    "subjects",
    metadata,
    sa.Column("pseudonym", sa.String, primary_key=True),
    sa.Column("cohort", sa.String, nullable=False),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("synthetic", sa.Boolean, nullable=False),
    recorded_at(),
    one_of("cohort", Cohort),
)

statuses = sa.Table(
    "statuses",
    metadata,
    subject(primary_key=True),  # the primary key guarantees one cohort per person of unknown status
    sa.Column("cohort", sa.String, nullable=False),
    sa.Column("why", sa.String, nullable=False),
    recorded_at(),
    one_of("cohort", KNOWN_COHORTS),
)

clips = sa.Table(
    "clips",
    metadata,
    sa.Column("sha256", sa.String(64), primary_key=True),
    subject(),
    sa.Column("source", sa.String, nullable=False),
    sa.Column("suffix", sa.String, nullable=False),
    sa.Column("start_s", sa.Float),
    sa.Column("end_s", sa.Float),
    sa.Column("fps", sa.Float),
    sa.Column("mirrored", sa.Boolean, nullable=False),
    sa.Column("synthetic", sa.Boolean, nullable=False),
    sa.Column("consent", sa.String),
    sa.Column("licence", sa.String),
    sa.Column("visit", sa.String),
    sa.Column("taken_at", sa.String),  # the manifest's `recorded_at`
    recorded_at(),
    sa.Column("revision", sa.Integer, nullable=False, server_default="0"),  # grows when `mirrored` or `fps` is corrected
    sa.Index("ix_clips_subject", "subject"),
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
    sa.Column("visit", sa.String),
    sa.Column("taken_at", sa.String),  # the manifest's `recorded_at`
    recorded_at(),
)

ingest_claims = sa.Table(
    "ingest_claims",
    metadata,
    sa.Column("clip", sa.String(64), primary_key=True),  # no foreign keys: clip and person are recorded when the ingest ends
    sa.Column("subject", sa.String, nullable=False),
    sa.Column("cohort", sa.String, nullable=False),
    sa.Column("work", sa.String, nullable=False),  # the lease of the worker
    recorded_at(),
)

dead_letters = sa.Table(
    "dead_letters",
    metadata,
    sa.Column("name", sa.String, primary_key=True),  # HMAC of the bytes
    sa.Column("deaths", sa.Integer, nullable=False),
    sa.Column("reason", sa.String, nullable=False),
    recorded_at(),
)

source_urls = sa.Table(
    "source_urls",
    metadata,
    sa.Column("url", sa.String, primary_key=True),  # HMAC
    sa.Column("time_range", sa.String, primary_key=True),
    sa.Column("clip", sa.String(64), nullable=False),
    recorded_at(),
)

url_failures = sa.Table(
    "url_failures",
    metadata,
    sa.Column("url", sa.String, primary_key=True),  # HMAC
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("next_try_at", sa.Float, nullable=False),  # seconds since 1970
    sa.Column("reason", sa.String, nullable=False),
    recorded_at(),
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
    recorded_at(),
)

skipped = sa.Table(
    "skipped",
    metadata,
    sa.Column("source", sa.String, primary_key=True),  # digest of the source: a manifest, a tree
    sa.Column("item", sa.String, primary_key=True),
    sa.Column("reason", sa.String, nullable=False),
    recorded_at(),
)
