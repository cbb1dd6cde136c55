"""Add to the ledger: retractions, suggestions of a model, grades, times and marks on frames."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for column in (
        sa.Column("retracted", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("suggestion", sa.Float(), nullable=True),
        sa.Column("suggested_by", sa.String(), nullable=True),
        sa.Column("grade", sa.Integer(), nullable=True),
        sa.Column("lead_time_s", sa.Float(), nullable=True),
        sa.Column("evidence", sa.JSON(), nullable=False, server_default="[]"),
    ):
        op.add_column("ledger", column)
