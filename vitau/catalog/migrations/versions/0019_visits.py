"""Add the visit at which a clip was recorded, and its date, to the clips and to the history of statements about them."""

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    for table in ("clips", "statements"):
        op.add_column(table, sa.Column("visit", sa.String(), nullable=True))
        op.add_column(table, sa.Column("taken_at", sa.String(), nullable=True))
