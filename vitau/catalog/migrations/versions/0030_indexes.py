"""Index the ledger by person and by reader, and scores by person: both are read for one of many."""

from alembic import op

revision = "0030"
down_revision = "0028"

INDEXES = (
    ("ix_ledger_subject", "ledger", ["subject"]),
    ("ix_ledger_reader", "ledger", ["reader", "stage", "au"]),
    ("ix_scores_subject", "scores", ["subject"]),
)


def upgrade() -> None:
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)
