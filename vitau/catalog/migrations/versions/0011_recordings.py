"""Create the claims of an ingest, the history of statements about clips, dead letters and URLs."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    op.add_column("clips", sa.Column("revision", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "statements",
        sa.Column("clip", sa.String(64), nullable=False),
        sa.Column("statement", sa.String(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("mirrored", sa.Boolean(), nullable=False),
        sa.Column("fps", sa.Float(), nullable=True),
        sa.Column("consent", sa.String(), nullable=True),
        sa.Column("licence", sa.String(), nullable=True),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["clip"], ["clips.sha256"], name="fk_statements_clip"),
        sa.PrimaryKeyConstraint("clip", "statement", name="pk_statements"),
    )
    op.create_table(
        "ingest_claims",
        sa.Column("clip", sa.String(64), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("cohort", sa.String(), nullable=False),
        sa.Column("work", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("clip", name="pk_ingest_claims"),
    )
    op.create_table(
        "dead_letters",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("deaths", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name="pk_dead_letters"),
    )
    op.create_table(
        "source_urls",
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("time_range", sa.String(), nullable=False),
        sa.Column("clip", sa.String(64), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("url", "time_range", name="pk_source_urls"),
    )
    op.create_table(
        "url_failures",
        sa.Column("url", sa.String(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("next_try_at", sa.Float(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("url", name="pk_url_failures"),
    )
