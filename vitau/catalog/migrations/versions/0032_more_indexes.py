"""Index the newest score, and the answers whose page showed a score or measures: both were found by reading all rows."""

import sqlalchemy as sa
from alembic import op

revision = "0032"
down_revision = "0031"


def upgrade() -> None:
    op.create_index("ix_scores_recorded_at", "scores", ["recorded_at", "model_digest"])
    for name, shown in (("suggested", "suggestion"), ("measured", "measures_shown")):
        where = sa.text(f"{shown} IS NOT NULL")
        op.create_index(f"ix_ledger_{name}", "ledger", ["subject", shown], sqlite_where=where, postgresql_where=where)
