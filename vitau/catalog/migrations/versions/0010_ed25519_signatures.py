"""Widen the signatures in the log of promotions for Ed25519, and refuse ``INSERT OR REPLACE`` there.

SQLite cannot change the type of a column, so the table is rebuilt with its rows and triggers. PostgreSQL keeps the triggers.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"

CHANGE = "promotions only grow: append another record instead"
PAST = "promotions only grow at their end: append instead"


def upgrade() -> None:
    if op.get_bind().dialect.name != "sqlite":
        op.alter_column("promotions", "signature", type_=sa.String(length=128), existing_nullable=False)
        return
    op.execute("ALTER TABLE promotions RENAME TO promotions_0006")  # its triggers follow it and are dropped with it
    op.create_table(
        "promotions",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("once", sa.String(), nullable=True),
        sa.Column("record", sa.Text(), nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_promotions"),
        sa.UniqueConstraint("once", name="uq_promotions_once"),
    )
    op.execute("INSERT INTO promotions SELECT number, model, once, record, signature, recorded_at FROM promotions_0006")
    op.execute("DROP TABLE promotions_0006")
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER promotions_no_{verb.lower()} BEFORE {verb} ON promotions "
            f"BEGIN SELECT RAISE(ABORT, '{CHANGE}'); END"
        )
    # INSERT OR REPLACE deletes the row in conflict without its delete trigger, so a conflict on `once` is refused here
    last = "coalesce((SELECT max(number) FROM promotions), 0)"
    conflict = "EXISTS (SELECT 1 FROM promotions WHERE once = NEW.once)"
    op.execute(
        "CREATE TRIGGER promotions_only_at_the_end BEFORE INSERT ON promotions "
        f"WHEN NEW.number <> {last} + 1 OR {conflict} BEGIN SELECT RAISE(ABORT, '{PAST}'); END"
    )
