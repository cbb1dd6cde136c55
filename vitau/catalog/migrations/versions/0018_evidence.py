"""Add the predictions for people who were left out, and the append-only list of looks at held-out people."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

CHANGE = "looks only grow: they count how often people were looked at"


def upgrade() -> None:
    op.create_table(
        "left_out",
        sa.Column("training", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("num_frames", sa.Integer(), nullable=False),
        sa.Column("num_folds", sa.Integer(), nullable=False),
        sa.Column("palsy_score", sa.Float(), nullable=True),
        sa.Column("threshold", sa.Float(), nullable=True),
        sa.Column("regions", sa.JSON(), nullable=True),
        sa.Column("right_score", sa.Float(), nullable=True),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["subject"], ["subjects.pseudonym"], name="fk_left_out_subject"),
        sa.PrimaryKeyConstraint("training", "subject", name="pk_left_out"),
    )
    op.create_table(
        "looks",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("snapshot", sa.String(), nullable=False),
        sa.Column("protocol", sa.String(), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("purpose", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.CheckConstraint("protocol IN ('subjects', 'lopo', 'frames')", name="ck_looks_protocol"),
        sa.PrimaryKeyConstraint("key", name="pk_looks"),
    )
    if op.get_bind().dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER looks_no_{verb.lower()} BEFORE {verb} ON looks BEGIN SELECT RAISE(ABORT, '{CHANGE}'); END"
            )
        return
    refusal = f"RAISE EXCEPTION '{CHANGE}' USING ERRCODE = 'integrity_constraint_violation'"
    op.execute(f"CREATE FUNCTION refuse_looks_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {refusal}; END $$")
    op.execute(
        "CREATE TRIGGER looks_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON looks "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_looks_change()"
    )
