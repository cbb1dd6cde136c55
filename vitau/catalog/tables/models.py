"""The tables of models: splits, snapshots, trainings, scores, evidence and promotions."""

import sqlalchemy as sa

from vitau.catalog.tables.base import metadata, one_of, recorded_at, subject
from vitau.schema import Protocol, Split

splits = sa.Table(
    "splits",
    metadata,
    subject(primary_key=True),
    sa.Column("split", sa.String, nullable=False),
    sa.Column("stratum", sa.String, nullable=False),
    recorded_at(),
    one_of("split", Split),
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
    recorded_at(),
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
    recorded_at(),
)

scores = sa.Table(
    "scores",
    metadata,
    sa.Column("model_digest", sa.String, primary_key=True),
    subject(primary_key=True),
    sa.Column("key", sa.String, nullable=False),
    sa.Column("summary", sa.JSON, nullable=False),
    recorded_at(),
    sa.Index("ix_scores_subject", "subject"),
    sa.Index("ix_scores_recorded_at", "recorded_at", "model_digest"),
)

left_out = sa.Table(
    "left_out",
    metadata,
    sa.Column("training", sa.String, primary_key=True),  # its key; the training itself follows its evidence
    subject(primary_key=True),
    sa.Column("num_frames", sa.Integer, nullable=False),
    sa.Column("num_folds", sa.Integer, nullable=False),
    sa.Column("palsy_score", sa.Float),
    sa.Column("threshold", sa.Float),
    sa.Column("regions", sa.JSON(none_as_null=True)),  # region → score
    sa.Column("right_score", sa.Float),
    recorded_at(),
)

looks = sa.Table(
    "looks",
    metadata,
    sa.Column("key", sa.String, primary_key=True),
    sa.Column("snapshot", sa.String, nullable=False),
    sa.Column("protocol", sa.String, nullable=False),
    sa.Column("model", sa.String, nullable=False),
    sa.Column("purpose", sa.String, nullable=False),
    recorded_at(),
    one_of("protocol", Protocol),
)

promotions = sa.Table(
    "promotions",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # 1, 2, 3 …, enforced by a trigger
    sa.Column("model", sa.String, nullable=False),
    sa.Column("once", sa.String, unique=True),  # idempotency key: digest of the inputs; null where a person decided
    sa.Column("record", sa.Text, nullable=False),  # canonical JSON, as it was signed
    sa.Column("signature", sa.String(128), nullable=False),  # Ed25519; 64 digits where it is an HMAC
    recorded_at(),
)
