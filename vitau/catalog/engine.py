"""The database behind the catalog: opened, brought to today's form, written in transactions, read in rows.

SQLite by default, PostgreSQL by its URL; what differs between them is here and in the migrations.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from vitau.errors import CatalogError

BATCH: Final = 1000
"""Rows per statement; PostgreSQL takes 65 535 parameters, SQLite 32 766."""


class Database:
    """A database with our tables; :func:`open_engine` opens one."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """Open a transaction that writes: all of it or nothing, and on SQLite nobody else writes meanwhile."""
        with database_errors(), self.engine.connect().execution_options(writing=True) as connection, connection.begin():
            yield connection

    def _insert(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert the rows that are not there and return how many were not."""
        if not rows:
            return 0
        insert: Any = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[self.engine.dialect.name]
        stamped = [{**row, "recorded_at": now()} for row in rows]
        with self._writing() as connection:
            created = 0
            for start in range(0, len(stamped), BATCH):
                new = insert(table).values(stamped[start : start + BATCH]).on_conflict_do_nothing()
                created += len(connection.execute(new.returning(sa.literal(1))).all())
        return created

    def _replace(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert the rows, in the place of those with the same key, in one transaction."""
        insert: Any = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[self.engine.dialect.name]
        stamped = [{**row, "recorded_at": now()} for row in rows]
        with self._writing() as connection:
            for start in range(0, len(stamped), BATCH):
                new = insert(table).values(stamped[start : start + BATCH])
                changed = {column.name: new.excluded[column.name] for column in table.c if not column.primary_key}
                connection.execute(new.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed))

    def _rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with database_errors(), self.engine.connect() as connection:
            return [dict(row) for row in connection.execute(query).mappings()]

    def _scalars(self, query: sa.Select[Any]) -> Sequence[Any]:
        with database_errors(), self.engine.connect() as connection:
            return connection.scalars(query).all()


def open_engine(url: str) -> sa.Engine:
    """Open the database at a URL and bring its tables to today's form.

    Raises:
        CatalogError: the database cannot be reached, or is newer than this code.
    """
    from alembic.util import CommandError

    try:
        engine = sa.create_engine(url)
    except sa.exc.ArgumentError as error:
        raise CatalogError(
            "the catalog's database URL cannot be read: use sqlite:////path or postgresql+psycopg://…"
        ) from error
    if engine.dialect.name == "sqlite":
        if engine.url.database:
            Path(engine.url.database).parent.mkdir(parents=True, exist_ok=True)
        sa.event.listen(engine, "connect", _prepare_sqlite)
        sa.event.listen(engine, "begin", _begin_sqlite)
    try:
        with database_errors():
            _migrate(engine)
    except CommandError as error:
        raise CatalogError(f"the catalog is newer than this code ({error}): update the code") from error
    return engine


def now() -> str:
    """Say what time it is: ISO 8601, UTC."""
    return datetime.now(UTC).isoformat(timespec="microseconds")


@contextmanager
def database_errors() -> Iterator[None]:
    """Turn what the database says when it cannot be reached or written into a sentence."""
    try:
        yield
    except sa.exc.OperationalError as error:
        raise CatalogError(f"the catalog cannot be reached or written: {str(error.orig).strip()}") from error


def _migrate(engine: sa.Engine) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    with engine.connect().execution_options(writing=True) as connection, connection.begin():
        if engine.dialect.name == "postgresql":  # two openers at once: the second waits and finds it done
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(20250305)"))
        current = MigrationContext.configure(connection).get_current_heads()
        if current != tuple(ScriptDirectory.from_config(config).get_heads()):
            config.attributes["connection"] = connection
            command.upgrade(config, "head")


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's BEGIN below, not the driver's guess
    for pragma in ("journal_mode=WAL", "foreign_keys=ON", "busy_timeout=30000"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    writing = connection.get_execution_options().get("writing", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")  # a reader that turns writer would not wait
