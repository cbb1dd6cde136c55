"""Create the state of the synchronization with Label Studio."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    op.create_table(
        "pulls",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("reader", sa.String(), nullable=False),
        sa.Column("stage", sa.String(), nullable=False),
        sa.Column("seen_until", sa.String(), nullable=False),
        sa.Column("whole_at", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.CheckConstraint("stage IN ('reader', 'adjudication')", name="ck_pulls_stage"),
        sa.PrimaryKeyConstraint("project", name="pk_pulls"),
    )
    op.create_table(
        "seen_annotations",
        sa.Column("project", sa.String(), nullable=False),
        sa.Column("annotation", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("task", sa.Integer(), nullable=False),
        sa.Column("version", sa.String(), nullable=False),
        sa.Column("problem", sa.String(), nullable=True),
        sa.Column("gone", sa.Boolean(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("project", "annotation", "subject", name="pk_seen_annotations"),
    )
