"""Create the list of people to label first."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    op.create_table(
        "priorities",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["subject"], ["subjects.pseudonym"], name="fk_priorities_subject"),
        sa.PrimaryKeyConstraint("subject", name="pk_priorities"),
    )
