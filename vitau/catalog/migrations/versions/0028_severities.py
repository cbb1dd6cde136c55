"""Note the severity and the synkinesis of each region; SQLite's trigger protects the new columns too."""

import sqlalchemy as sa
from alembic import op

revision = "0028"
down_revision = "0027"

GROWS = "the ledger only grows: append a correction instead"
ERASED = "(NEW.subject LIKE 'erased-%' AND EXISTS (SELECT 1 FROM erasures WHERE subject = NEW.subject AND finished_at IS NULL))"


def upgrade() -> None:
    op.add_column("ledger", sa.Column("severity", sa.Integer(), nullable=True))
    op.add_column("ledger", sa.Column("synkinesis", sa.Boolean(), nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        _guard_all_columns()


def _guard_all_columns() -> None:
    """Replace the trigger that refuses changes: it names each column, where PostgreSQL's compares whole rows."""
    columns = [column["name"] for column in sa.inspect(op.get_bind()).get_columns("ledger") if column["name"] != "subject"]
    same = [*(f'NEW."{name}" IS OLD."{name}"' for name in columns), f"(NEW.subject IS OLD.subject OR {ERASED})"]
    op.execute("DROP TRIGGER ledger_no_update")
    op.execute(
        f"CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger WHEN NOT ({' AND '.join(same)}) "
        f"BEGIN SELECT RAISE(ABORT, '{GROWS}'); END"
    )
