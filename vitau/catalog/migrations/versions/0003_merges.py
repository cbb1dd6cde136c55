"""Create the merges of subjects, and the triggers that refuse rows before the end of the ledger."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TABLES = ("ledger", "merges")
PAST = "the ledger only grows at its end: append instead"


def upgrade() -> None:
    op.create_table(
        "merges",
        sa.Column("merged", sa.String(), nullable=False),
        sa.Column("kept", sa.String(), nullable=False),
        sa.Column("offset", sa.BigInteger(), nullable=False),
        sa.Column("why", sa.String(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.CheckConstraint("merged <> kept", name="ck_merges_two"),
        sa.ForeignKeyConstraint(["kept"], ["subjects.pseudonym"], name="fk_merges_kept"),
        sa.ForeignKeyConstraint(["merged"], ["subjects.pseudonym"], name="fk_merges_merged"),
        sa.PrimaryKeyConstraint("merged", name="pk_merges"),
        sa.UniqueConstraint("offset", name="uq_merges_offset"),
    )
    if op.get_bind().dialect.name == "sqlite":
        _guard_sqlite()
    else:
        _guard_postgresql()


def _guard_sqlite() -> None:
    last = 'max(coalesce((SELECT max("offset") FROM ledger), 0), coalesce((SELECT max("offset") FROM merges), 0))'
    for verb in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER merges_no_{verb.lower()} BEFORE {verb} ON merges "
            "BEGIN SELECT RAISE(ABORT, 'the ledger only grows: append a correction instead'); END"
        )
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_only_at_the_end BEFORE INSERT ON {table} "
            f"WHEN NEW.\"offset\" <= {last} BEGIN SELECT RAISE(ABORT, '{PAST}'); END"
        )


def _guard_postgresql() -> None:
    last = 'greatest((SELECT max("offset") FROM ledger), (SELECT max("offset") FROM merges), 0)'
    refusal = f"RAISE EXCEPTION '{PAST}' USING ERRCODE = 'integrity_constraint_violation'"
    op.execute('ALTER TABLE ledger ALTER COLUMN "offset" DROP DEFAULT')
    op.execute("DROP SEQUENCE ledger_offset_seq")
    op.execute(
        "CREATE TRIGGER merges_no_change BEFORE UPDATE OR DELETE OR TRUNCATE ON merges "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()"
    )
    op.execute(
        "CREATE FUNCTION refuse_ledger_past() RETURNS trigger LANGUAGE plpgsql AS "
        f'$$ BEGIN IF NEW."offset" <= {last} THEN {refusal}; END IF; RETURN NEW; END $$'
    )
    for table in TABLES:
        op.execute(
            f"CREATE TRIGGER {table}_only_at_the_end BEFORE INSERT ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_ledger_past()"
        )
