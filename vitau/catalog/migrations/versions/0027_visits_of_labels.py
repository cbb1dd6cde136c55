"""Note the visit of each answer and label; those that are there are about the visit 1."""

import sqlalchemy as sa
from alembic import op

revision = "0027"
down_revision = "0026"

GROWS = "the ledger only grows: append a correction instead"
ERASED = "(NEW.subject LIKE 'erased-%' AND EXISTS (SELECT 1 FROM erasures WHERE subject = NEW.subject AND finished_at IS NULL))"
AUS = "'AU1', 'AU2', 'AU4', 'AU6', 'AU9', 'AU12', 'AU25', 'AU26'"


def upgrade() -> None:
    op.add_column("ledger", sa.Column("visit", sa.String(), nullable=True))
    if op.get_bind().dialect.name == "sqlite":
        _guard_all_columns()
        _replace_labels()
    else:
        op.add_column("labels", sa.Column("visit", sa.String(), nullable=False, server_default="1"))
        op.alter_column("labels", "visit", server_default=None)
        op.drop_constraint("pk_labels", "labels", type_="primary")
        op.create_primary_key("pk_labels", "labels", ["subject", "visit", "au"])


def _replace_labels() -> None:
    """Replace the table by one with the new key: SQLite changes none of a table that exists."""
    op.create_table(
        "labels_new",
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("visit", sa.String(), nullable=False),
        sa.Column("au", sa.String(), nullable=False),
        sa.Column("affected", sa.Boolean(), nullable=False),
        sa.Column("side", sa.String(), nullable=True),
        sa.Column("ledger_offset", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.CheckConstraint(f"au IN ({AUS})", name="ck_labels_au"),
        sa.CheckConstraint("side IN ('left', 'right', 'both')", name="ck_labels_side"),
        sa.ForeignKeyConstraint(["subject"], ["subjects.pseudonym"], name="fk_labels_subject"),
        sa.PrimaryKeyConstraint("subject", "visit", "au", name="pk_labels"),
    )
    columns = "au, affected, side, ledger_offset, recorded_at"
    op.execute(f"INSERT INTO labels_new (subject, visit, {columns}) SELECT subject, '1', {columns} FROM labels")
    op.drop_table("labels")
    op.rename_table("labels_new", "labels")


def _guard_all_columns() -> None:
    """Replace the trigger that refuses changes: it names each column, where PostgreSQL's compares whole rows."""
    columns = [column["name"] for column in sa.inspect(op.get_bind()).get_columns("ledger") if column["name"] != "subject"]
    same = [*(f'NEW."{name}" IS OLD."{name}"' for name in columns), f"(NEW.subject IS OLD.subject OR {ERASED})"]
    op.execute("DROP TRIGGER ledger_no_update")
    op.execute(
        f"CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger WHEN NOT ({' AND '.join(same)}) "
        f"BEGIN SELECT RAISE(ABORT, '{GROWS}'); END"
    )
