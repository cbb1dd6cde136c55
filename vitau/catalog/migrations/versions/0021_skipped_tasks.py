"""Count the tasks that a reader skipped, as of the last pull of the project."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    op.add_column("pulls", sa.Column("num_skipped", sa.Integer(), nullable=False, server_default="0"))
