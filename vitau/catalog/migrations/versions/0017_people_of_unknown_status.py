"""Allow people of unknown status, and create the table of the cohorts that are stated of them later."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"

COHORTS = "cohort IN ('palsy', 'control', 'unknown')"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        _replace_subjects()
    else:
        op.drop_constraint("ck_subjects_cohort", "subjects", type_="check")
        op.create_check_constraint("ck_subjects_cohort", "subjects", COHORTS)
    op.create_table(
        "statuses",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("cohort", sa.String(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.CheckConstraint("cohort IN ('palsy', 'control')", name="ck_statuses_cohort"),
        sa.ForeignKeyConstraint(["subject"], ["subjects.pseudonym"], name="fk_statuses_subject"),
        sa.PrimaryKeyConstraint("subject", name="pk_statuses"),
    )


def _replace_subjects() -> None:
    """Replace the table by one with the new constraint: SQLite changes none of a table that exists."""
    op.create_table(
        "subjects_new",
        sa.Column("pseudonym", sa.String(), nullable=False),
        sa.Column("cohort", sa.String(), nullable=False),
        sa.Column("source", sa.String(), nullable=False),
        sa.Column("synthetic", sa.Boolean(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.CheckConstraint(COHORTS, name="ck_subjects_cohort"),
        sa.PrimaryKeyConstraint("pseudonym", name="pk_subjects"),
    )
    columns = "pseudonym, cohort, source, synthetic, recorded_at"
    op.execute(f"INSERT INTO subjects_new ({columns}) SELECT {columns} FROM subjects")
    op.drop_table("subjects")
    op.rename_table("subjects_new", "subjects")
