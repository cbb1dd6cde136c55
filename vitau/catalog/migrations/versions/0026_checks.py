"""Create the list of questions that check readers, and note with each answer whether it is one."""

import sqlalchemy as sa
from alembic import op

revision = "0026"
down_revision = "0024"

GROWS = "the ledger only grows: append a correction instead"
ERASED = "(NEW.subject LIKE 'erased-%' AND EXISTS (SELECT 1 FROM erasures WHERE subject = NEW.subject AND finished_at IS NULL))"
KINDS = "'control', 'repeat'"


def upgrade() -> None:
    op.create_table(
        "checks",
        sa.Column("reader", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("material", sa.String(), nullable=False),
        sa.Column("after", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.CheckConstraint(f"kind IN ({KINDS})", name="ck_checks_kind"),
        sa.ForeignKeyConstraint(["subject"], ["subjects.pseudonym"], name="fk_checks_subject"),
        sa.PrimaryKeyConstraint("reader", "subject", "material", "after", name="pk_checks"),
    )
    op.add_column("ledger", sa.Column("check_kind", sa.String(), nullable=True))
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
