"""Create the audit trail of erasures."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    op.create_table(
        "erasures",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("finished_at", sa.String(), nullable=True),
        sa.Column("snapshots", sa.JSON(), nullable=False),
        sa.Column("trainings", sa.JSON(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["subject"], ["subjects.pseudonym"], name="fk_erasures_subject"),
        sa.PrimaryKeyConstraint("subject", name="pk_erasures"),
    )
