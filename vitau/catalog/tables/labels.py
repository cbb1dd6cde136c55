"""The tables of labels: the ledger, the consensus, and what is asked of the readers next."""

import sqlalchemy as sa

from vitau.catalog.tables.base import chained, indexed_where, metadata, one_of, recorded_at, subject
from vitau.schema import AUS, CheckKind, Side, Stage

ledger = sa.Table(
    "ledger",
    metadata,
    # assigned under a lock by the writer: answers and merges share one sequence, in the order of their commits
    sa.Column("offset", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
    subject(),
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
    sa.Column("measures_shown", sa.String),  # version of the measures on the page, null if the reader saw none
    sa.Column("asked", sa.Boolean, nullable=False, server_default=sa.true()),  # false: the adjudicator did not settle it
    sa.Column("check_kind", sa.String),  # of a question that checks its reader, null for all others
    sa.Column("visit", sa.String),  # null for the visit 1
    sa.Column("severity", sa.Integer),  # of an affected region, 0 to 2
    sa.Column("synkinesis", sa.Boolean),  # null without an answer
    *chained(),
    recorded_at(),
    sa.UniqueConstraint("annotation", "version", "au"),
    sa.Index("ix_ledger_subject", "subject"),
    sa.Index("ix_ledger_reader", "reader", "stage", "au"),
    sa.Index("ix_ledger_suggested", "subject", "suggestion", **indexed_where("suggestion IS NOT NULL")),
    sa.Index("ix_ledger_measured", "subject", "measures_shown", **indexed_where("measures_shown IS NOT NULL")),
    one_of("au", AUS),
    one_of("stage", Stage),
    one_of("side", Side),
)

merges = sa.Table(
    "merges",
    metadata,
    sa.Column("merged", sa.String, sa.ForeignKey("subjects.pseudonym"), primary_key=True),  # a subject is merged once
    sa.Column("kept", sa.String, sa.ForeignKey("subjects.pseudonym"), nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),  # in the ledger's sequence
    *chained(),
    recorded_at(),
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

ledger_newest = sa.Table(
    "ledger_newest",  # derived from the ledger: the offsets of the rows that no later row of the same annotation replaces
    metadata,
    sa.Column("offset", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=False),
)

consensus = sa.Table(
    "consensus",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),  # 1: the table has one row
    sa.Column("ledger_offset", sa.Integer, nullable=False),  # of the labels; it never goes back
    recorded_at(),
    sa.CheckConstraint("number = 1", name="number"),
)

unusable_frames = sa.Table(
    "unusable_frames",
    metadata,
    sa.Column("frame", sa.String, primary_key=True),  # "<clip sha256>:<frame index>", marked by a reader
    recorded_at(),
)

labels = sa.Table(
    "labels",
    metadata,
    subject(primary_key=True),
    sa.Column("visit", sa.String, primary_key=True),
    sa.Column("au", sa.String, primary_key=True),  # the primary key guarantees one answer per subject, visit and AU
    sa.Column("affected", sa.Boolean, nullable=False),
    sa.Column("side", sa.String),
    sa.Column("ledger_offset", sa.Integer, nullable=False),
    recorded_at(),
    one_of("au", AUS),
    one_of("side", Side),
)

absences = sa.Table(
    "absences",
    metadata,
    sa.Column("reader", sa.String, primary_key=True),  # is away, and gets no tasks
    recorded_at(),
)

checks = sa.Table(
    "checks",
    metadata,
    sa.Column("reader", sa.String, primary_key=True),
    subject(primary_key=True),
    sa.Column("material", sa.String, primary_key=True),  # of the task, as in Label Studio
    sa.Column("after", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String, nullable=False),
    recorded_at(),
    one_of("kind", CheckKind),
)

priorities = sa.Table(
    "priorities",
    metadata,
    subject(primary_key=True),
    sa.Column("rank", sa.Integer, nullable=False),  # 1 is labeled first
    sa.Column("why", sa.String, nullable=False),
    recorded_at(),
)

comparisons = sa.Table(
    "comparisons",
    metadata,
    subject(primary_key=True),
    sa.Column("material", sa.String, primary_key=True),  # digest of the person's clips
    sa.Column("shown", sa.String, primary_key=True),  # digest of the frames that were shown
    sa.Column("frames", sa.JSON, nullable=False),  # key frames of these clips
    sa.Column("difference", sa.Float),
    recorded_at(),
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
    sa.Column("num_skipped", sa.Integer, nullable=False, server_default="0"),
    recorded_at(),
    one_of("stage", Stage),
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
    recorded_at(),
)
