"""Chain the rows of the ledger by digests, keep their details apart, and let nothing but an erasure touch either."""

import json

import sqlalchemy as sa
from alembic import op

from vitau.catalog.ledger.hash_chain import START, answer_digest, details_digest, merge_digest, salted

revision = "0013"
down_revision = "0012"

GROWS = "the ledger only grows: append a correction instead"
PAST = "the ledger only grows at its end: append instead"
ROWS = 'coalesce((SELECT max("offset") FROM ledger), 0), coalesce((SELECT max("offset") FROM merges), 0)'


def upgrade() -> None:
    sqlite = op.get_bind().dialect.name == "sqlite"
    (_unguard_sqlite if sqlite else _unguard_postgresql)()
    op.create_table(
        "ledger_details",
        sa.Column("offset", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=False, nullable=False),
        sa.Column("salt", sa.String(), nullable=False),
        sa.Column("note", sa.String(), nullable=True),
        sa.Column("frames_shown", sa.JSON(), nullable=False),
        sa.Column("marks", sa.JSON(), nullable=False),
        sa.PrimaryKeyConstraint("offset", name="pk_ledger_details"),
    )
    op.create_table(
        "consensus",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ledger_offset", sa.Integer(), nullable=False),
        sa.Column("recorded_at", sa.String(), nullable=False),
        sa.CheckConstraint("number = 1", name="ck_consensus_number"),
        sa.PrimaryKeyConstraint("number", name="pk_consensus"),
    )
    op.execute(
        "INSERT INTO consensus (number, ledger_offset, recorded_at) "
        "SELECT 1, last, recorded_at FROM (SELECT max(ledger_offset) AS last, max(recorded_at) AS recorded_at FROM labels) "
        "AS newest WHERE last IS NOT NULL"
    )
    for table in ("ledger", "merges"):
        op.add_column(table, sa.Column("details", sa.String(64), nullable=False, server_default=""))
        op.add_column(table, sa.Column("digest", sa.String(64), nullable=False, server_default=""))
    op.add_column("snapshots", sa.Column("ledger_digest", sa.String(64), nullable=True))
    if sqlite:  # the name of a tombstone is entered before the subject's; SQLite drops a foreign key with its table only
        with op.batch_alter_table("erasures") as batch:
            batch.drop_constraint("fk_erasures_subject", type_="foreignkey")
    else:
        op.drop_constraint("fk_erasures_subject", "erasures", type_="foreignkey")
    _chain()
    for table, columns in (("ledger", ("note", "frames_shown", "evidence")), ("merges", ("why",))):
        for column in columns:
            op.drop_column(table, column)
    (_guard_sqlite if sqlite else _guard_postgresql)()


def _chain() -> None:
    """Fill the digests of the rows that are there, and move their details."""
    connection = op.get_bind()
    tables = sa.MetaData()
    tables.reflect(connection, only=["ledger", "merges", "ledger_details"])
    ledger, merges = tables.tables["ledger"], tables.tables["merges"]
    rows = [dict(row) for table in (ledger, merges) for row in connection.execute(sa.select(table)).mappings()]
    previous = START
    for row in sorted(rows, key=lambda row: row["offset"]):
        merge = "kept" in row
        frames, marks = ([], []) if merge else (_parsed(row["frames_shown"]), _parsed(row["evidence"]))
        details = salted({"note": row["why"] if merge else row["note"], "frames_shown": frames, "marks": marks})
        connection.execute(sa.insert(tables.tables["ledger_details"]), [{"offset": row["offset"], **details}])
        row["details"] = details_digest(details)
        previous = (merge_digest if merge else answer_digest)(row, previous)
        table = merges if merge else ledger
        chained = sa.update(table).where(table.c.offset == row["offset"])
        connection.execute(chained.values(details=row["details"], digest=previous))


def _parsed(value: object) -> object:
    return json.loads(value) if isinstance(value, str) else value


def _unguard_sqlite() -> None:
    for table in ("ledger", "merges"):
        for name in ("no_update", "no_delete", "only_at_the_end"):
            op.execute(f"DROP TRIGGER {table}_{name}")


def _unguard_postgresql() -> None:
    for table in ("ledger", "merges"):
        for name in ("no_change", "only_at_the_end"):
            op.execute(f"DROP TRIGGER {table}_{name} ON {table}")


def _open(name: str) -> str:
    """Return the condition that a name is the tombstone of an erasure that has begun and is unfinished."""
    return f"({name} LIKE 'erased-%' AND EXISTS (SELECT 1 FROM erasures WHERE subject = {name} AND finished_at IS NULL))"


def _kept(name: str, equal: str) -> str:
    return f"(NEW.{name} {equal} OLD.{name} OR {_open(f'NEW.{name}')})"


IN_ERASURE = (
    "EXISTS (SELECT 1 FROM erasures WHERE finished_at IS NULL AND subject LIKE 'erased-%' AND subject IN "
    '(SELECT subject FROM ledger WHERE "offset" = OLD."offset" UNION ALL SELECT kept FROM merges WHERE "offset" = OLD."offset" '
    'UNION ALL SELECT merged FROM merges WHERE "offset" = OLD."offset"))'
)
NAMES = {"ledger": ("subject",), "merges": ("kept", "merged")}


def _guard_sqlite() -> None:
    """Refuse by triggers; each checks the keys itself, because REPLACE deletes rows without a delete trigger."""
    connection = op.get_bind()
    taken = {
        "ledger": "EXISTS (SELECT 1 FROM ledger WHERE annotation = NEW.annotation AND version = NEW.version AND au = NEW.au)",
        "merges": "EXISTS (SELECT 1 FROM merges WHERE merged = NEW.merged)",
    }
    for table, names in NAMES.items():
        columns = [column["name"] for column in sa.inspect(connection).get_columns(table) if column["name"] not in names]
        same = [f'NEW."{name}" IS OLD."{name}"' for name in columns] + [_kept(name, "IS") for name in names]
        refuse = f"BEGIN SELECT RAISE(ABORT, '{GROWS}'); END"
        op.execute(f"CREATE TRIGGER {table}_no_update BEFORE UPDATE ON {table} WHEN NOT ({' AND '.join(same)}) {refuse}")
        op.execute(f"CREATE TRIGGER {table}_no_delete BEFORE DELETE ON {table} {refuse}")
        op.execute(f"CREATE TRIGGER {table}_no_replacement BEFORE INSERT ON {table} WHEN {taken[table]} {refuse}")
        op.execute(
            f"CREATE TRIGGER {table}_only_at_the_end BEFORE INSERT ON {table} "
            f"WHEN NEW.\"offset\" <> max({ROWS}) + 1 BEGIN SELECT RAISE(ABORT, '{PAST}'); END"
        )
    op.execute(f"CREATE TRIGGER ledger_details_no_update BEFORE UPDATE ON ledger_details {refuse}")
    op.execute(f"CREATE TRIGGER ledger_details_no_delete BEFORE DELETE ON ledger_details WHEN NOT {IN_ERASURE} {refuse}")
    op.execute(
        "CREATE TRIGGER ledger_details_only_at_the_end BEFORE INSERT ON ledger_details "
        f'WHEN NEW."offset" <= max({ROWS}) OR EXISTS (SELECT 1 FROM ledger_details WHERE "offset" = NEW."offset") '
        f"BEGIN SELECT RAISE(ABORT, '{PAST}'); END"
    )


def _guard_postgresql() -> None:
    refuse = "RAISE EXCEPTION '{}' USING ERRCODE = 'integrity_constraint_violation'"
    for table, names in NAMES.items():
        listed = ", ".join(f"'{name}'" for name in names)
        same = [f"to_jsonb(NEW) - ARRAY[{listed}] = to_jsonb(OLD) - ARRAY[{listed}]", *(_kept(name, "=") for name in names)]
        _trigger(
            f"refuse_{table}_update",
            f"IF NOT ({' AND '.join(same)}) THEN {refuse.format(GROWS)}; END IF; RETURN NEW;",
            f"{table}_no_update BEFORE UPDATE ON {table} FOR EACH ROW",
        )
        op.execute(
            f"CREATE TRIGGER {table}_no_change BEFORE DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()"
        )
    op.execute(
        "CREATE OR REPLACE FUNCTION refuse_ledger_past() RETURNS trigger LANGUAGE plpgsql AS "
        f'$$ BEGIN IF NEW."offset" <> greatest({ROWS}) + 1 THEN {refuse.format(PAST)}; END IF; RETURN NEW; END $$'
    )
    for table in NAMES:
        op.execute(
            f"CREATE TRIGGER {table}_only_at_the_end BEFORE INSERT ON {table} "
            "FOR EACH ROW EXECUTE FUNCTION refuse_ledger_past()"
        )
    op.execute(
        "CREATE TRIGGER ledger_details_no_change BEFORE UPDATE OR TRUNCATE ON ledger_details "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()"
    )
    _trigger(
        "refuse_details_deletion",
        f"IF NOT {IN_ERASURE} THEN {refuse.format(GROWS)}; END IF; RETURN OLD;",
        "ledger_details_no_delete BEFORE DELETE ON ledger_details FOR EACH ROW",
    )
    _trigger(
        "refuse_details_past",
        f'IF NEW."offset" <= greatest({ROWS}) THEN {refuse.format(PAST)}; END IF; RETURN NEW;',
        "ledger_details_only_at_the_end BEFORE INSERT ON ledger_details FOR EACH ROW",
    )


def _trigger(function: str, body: str, trigger: str) -> None:
    op.execute(f"CREATE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$")
    op.execute(f"CREATE TRIGGER {trigger} EXECUTE FUNCTION {function}()")
