"""Create the first tables, and the triggers that make the ledger append-only."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.create_table(
        "skipped",
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("item", sa.String(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("source", "item", name="pk_skipped"),
    )
    op.create_table(
        "snapshots",
        sa.Column("digest", sa.String(), nullable=False),
        sa.Column("uri", sa.String(), nullable=False),
        sa.Column("ledger_offset", sa.Integer(), nullable=False),
        sa.Column("num_frames", sa.Integer(), nullable=False),
        sa.Column("subjects", sa.JSON(), nullable=False),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("digest", name="pk_snapshots"),
    )
    op.create_table(
        "subjects",
        sa.Column("pseudonym", sa.String(), nullable=False),
        sa.Column("cohort", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.CheckConstraint("cohort IN ('palsy', 'control')", name="ck_subjects_cohort"),
        sa.PrimaryKeyConstraint("pseudonym", name="pk_subjects"),
    )
    op.create_table(
        "clips",
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("suffix", sa.String(), nullable=False),
        sa.Column("start_s", sa.Float(), nullable=True),
        sa.Column("end_s", sa.Float(), nullable=True),
        sa.Column("fps", sa.Float(), nullable=True),
        sa.Column("mirrored", sa.Boolean(), nullable=False),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
        sa.Column("consent", sa.String(), nullable=True),
        sa.Column("licence", sa.String(), nullable=True),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["subject"], ["subjects.pseudonym"], name="fk_clips_subject"),
        sa.PrimaryKeyConstraint("sha256", name="pk_clips"),
    )
    op.create_table(
        "labels",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("au", sa.String(), nullable=False),
        sa.Column("affected", sa.Boolean(), nullable=False),
        sa.Column("side", sa.String(), nullable=True),
        sa.Column("ledger_offset", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.CheckConstraint("au IN ('AU1', 'AU2', 'AU4', 'AU6', 'AU9', 'AU12', 'AU25', 'AU26')", name="ck_labels_au"),
        sa.CheckConstraint("side IN ('left', 'right', 'both')", name="ck_labels_side"),
        sa.ForeignKeyConstraint(["subject"], ["subjects.pseudonym"], name="fk_labels_subject"),
        sa.PrimaryKeyConstraint("subject", "au", name="pk_labels"),
    )
    op.create_table(
        "ledger",
        sa.Column("offset", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("au", sa.String(), nullable=False),
        sa.Column("reader", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("affected", sa.Boolean(), nullable=True),
        sa.Column("side", sa.String(), nullable=True),
        sa.Column("annotation", sa.String(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("answered_at", sa.String(), nullable=False),
        sa.Column("frames_shown", sa.JSON(), nullable=False),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.CheckConstraint("au IN ('AU1', 'AU2', 'AU4', 'AU6', 'AU9', 'AU12', 'AU25', 'AU26')", name="ck_ledger_au"),
        sa.CheckConstraint("side IN ('left', 'right', 'both')", name="ck_ledger_side"),
        sa.CheckConstraint("stage IN ('reader', 'adjudication')", name="ck_ledger_stage"),
        sa.ForeignKeyConstraint(["subject"], ["subjects.pseudonym"], name="fk_ledger_subject"),
        sa.PrimaryKeyConstraint("offset", name="pk_ledger"),
        sa.UniqueConstraint("annotation", "version", "au", name="uq_ledger_annotation"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "scores",
        sa.Column("model_digest", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("summary", sa.JSON(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["subject"], ["subjects.pseudonym"], name="fk_scores_subject"),
        sa.PrimaryKeyConstraint("model_digest", "subject", name="pk_scores"),
    )
    op.create_table(
        "splits",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("split", sa.String(), nullable=False),
        sa.Column("stratum", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.CheckConstraint("split IN ('train', 'val', 'test')", name="ck_splits_split"),
        sa.ForeignKeyConstraint(["subject"], ["subjects.pseudonym"], name="fk_splits_subject"),
        sa.PrimaryKeyConstraint("subject", name="pk_splits"),
    )
    op.create_table(
        "trainings",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("recipe", sa.String(), nullable=False),
        sa.Column("snapshot", sa.String(), nullable=False),
        sa.Column("model_digest", sa.String(), nullable=False),
        sa.Column("model_key", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.String(), nullable=False),
        sa.Column("metrics", sa.JSON(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["snapshot"], ["snapshots.digest"], name="fk_trainings_snapshot"),
        sa.PrimaryKeyConstraint("key", name="pk_trainings"),
    )
    op.create_table(
        "frame_tables",
        sa.Column("clip", sa.String(length=64), nullable=False),
        sa.Column("recipe", sa.String(), nullable=False),
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("num_frames", sa.Integer(), nullable=False),
        sa.Column("num_faces", sa.Integer(), nullable=False),
        sa.Column("quarantine_key", sa.String(), nullable=False),
        sa.Column("quarantined", sa.JSON(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["clip"], ["clips.sha256"], name="fk_frame_tables_clip"),
        sa.PrimaryKeyConstraint("clip", "recipe", name="pk_frame_tables"),
    )
    op.create_table(
        "unusable_frames",
        sa.Column("frame", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("frame", name="pk_unusable_frames"),
    )
    _refuse_changes_to_the_ledger()


def _refuse_changes_to_the_ledger() -> None:
    refusal = "the ledger only grows: append a correction instead"
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER ledger_no_{verb.lower()} BEFORE {verb} ON ledger BEGIN SELECT RAISE(ABORT, '{refusal}'); END"
            )
    else:
        op.execute(
            "CREATE FUNCTION refuse_ledger_change() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{refusal}' USING ERRCODE = 'integrity_constraint_violation'; END $$"
        )
        op.execute(
            "CREATE TRIGGER ledger_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON ledger "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()"
        )
