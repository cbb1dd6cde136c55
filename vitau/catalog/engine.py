"""The database behind the catalog: connections, schema upgrades, transactions and queries.

SQLite by default, PostgreSQL by its URL. What differs between the two is here and in the migrations.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import fields
from functools import wraps
from pathlib import Path
from typing import Any, Concatenate, Final, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from vitau.catalog.rows import from_row, from_tuples, recorded
from vitau.errors import CatalogError

T = TypeVar("T")
D = TypeVar("D", bound="Database")
P = ParamSpec("P")
_PRAGMAS: Final = ("journal_mode=WAL", "foreign_keys=ON", "busy_timeout=30000", "recursive_triggers=ON", "secure_delete=ON")
"""Without recursive triggers, INSERT OR REPLACE deletes rows silently; secure_delete overwrites what is deleted with zeros."""
BATCH: Final = 1000
"""Rows per statement: PostgreSQL takes 65 535 parameters, SQLite 32 766."""
RETRY_DELAYS_S: Final = (0.2, 0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each retry. A PostgreSQL server that restarts is back within them."""


def retried(method: Callable[Concatenate[D, P], T]) -> Callable[Concatenate[D, P], T]:
    """Return a method that runs again when PostgreSQL's connection is lost, or other writers kept SQLite busy for too long.

    The method must be idempotent. Within a transaction of the caller nothing is repeated: only the whole transaction could be.
    """

    @wraps(method)
    def run(self: D, /, *args: P.args, **kwargs: P.kwargs) -> T:
        for delay_s in RETRY_DELAYS_S:
            try:
                return method(self, *args, **kwargs)
            except CatalogError as error:
                if self.in_transaction or not _is_passing(error.__cause__):
                    raise
            time.sleep(delay_s)
        return method(self, *args, **kwargs)

    return run


def _is_passing(cause: BaseException | None) -> bool:
    """Return whether a statement may succeed when it is repeated.

    SQLite does not queue its writers: with a hundred of them, one may not get its turn within the busy timeout.
    """
    if not isinstance(cause, sa.exc.DBAPIError):
        return False
    return bool(cause.connection_invalidated) or "database is locked" in str(cause.orig)


class Database:
    """A database with the catalog's tables. Open its engine with :func:`open_engine`."""

    def __init__(self, engine: sa.Engine) -> None:
        self.engine = engine
        self._open: ContextVar[sa.Connection | None] = ContextVar("transaction", default=None)

    @property
    def in_transaction(self) -> bool:
        """Return whether the caller is within :meth:`transaction`."""
        return self._open.get() is not None

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make the reads and writes of the ``with`` block, in this thread, one write transaction: all or none."""
        with self._writing() as connection:
            token = self._open.set(connection)
            try:
                yield
            finally:
                self._open.reset(token)

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """Open a write transaction, or join the caller's; on SQLite it excludes other writers."""
        if (joined := self._open.get()) is not None:
            yield joined
            return
        with database_errors(), self._connect().execution_options(writing=True) as connection, connection.begin():
            yield connection

    def _connect(self) -> sa.Connection:
        """Return a connection; wait for a PostgreSQL server that restarts."""
        if self.engine.dialect.name == "postgresql":
            for delay_s in RETRY_DELAYS_S:
                try:
                    return self.engine.connect()
                except sa.exc.OperationalError:
                    time.sleep(delay_s)
        return self.engine.connect()

    @retried
    def _insert(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert the rows whose keys are free, in one transaction; return how many there were."""
        if not rows:
            return 0
        created = 0
        with self._writing() as connection:
            for batch in _batches(recorded(rows)):
                new = self._insert_statement(table).values(batch).on_conflict_do_nothing()
                created += len(connection.execute(new.returning(sa.literal(1))).all())
        return created

    @retried
    def _replace(self, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert the rows and replace those with the same keys, in one transaction."""
        with self._writing() as connection:
            self._upsert(connection, table, rows)

    def _upsert(self, connection: sa.Connection, table: sa.Table, rows: Sequence[Mapping[str, Any]]) -> None:
        """Insert the rows and replace those with the same keys."""
        for batch in _batches(recorded(rows)):
            new = self._insert_statement(table).values(batch)
            changed = {column.name: new.excluded[column.name] for column in table.c if not column.primary_key}
            connection.execute(new.on_conflict_do_update(index_elements=list(table.primary_key), set_=changed))

    def _lock(self, connection: sa.Connection, name: str) -> None:
        """Wait for an advisory lock, which the transaction holds to its end. On SQLite all writers exclude each other."""
        if self.engine.dialect.name == "postgresql":
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": f"vitau {name}"})

    @retried
    def _replace_all(self, table: sa.Table, rows: Sequence[Mapping[str, Any]], *where: sa.ColumnElement[bool]) -> None:
        """Replace every row of a table, or every row to which the conditions apply, in one transaction."""
        with self._writing() as connection:
            connection.execute(sa.delete(table).where(*where))
            if rows:
                connection.execute(sa.insert(table), recorded(rows))

    def _insert_statement(self, table: sa.Table) -> Any:
        """Return the dialect's own insert statement, which has an ``ON CONFLICT`` clause."""
        return {"postgresql": postgresql.insert, "sqlite": sqlite.insert}[self.engine.dialect.name](table)

    def _load(self, kind: type[T], query: sa.Select[Any]) -> list[T]:
        """Return the rows of a query as dataclasses."""
        return [from_row(kind, row) for row in self._rows(query)]

    @retried
    def _load_flat(self, kind: type[T], table: sa.Table, /, **restore: Callable[[Any], Any]) -> list[T]:
        """Return all rows of a table as dataclasses, quickly; their values can be hashed. See :func:`from_tuples`."""
        names = {field.name for field in fields(kind)}  # type: ignore[arg-type]  # a dataclass
        columns = [column for column in table.c if column.name in names]
        with self._reading() as connection:
            rows = connection.execute(sa.select(*columns)).tuples()
            return list(from_tuples(kind, [column.name for column in columns], rows, **restore))

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        """Open a connection for several reads of one state of the database, or join the caller's transaction."""
        if (joined := self._open.get()) is not None:
            yield joined
            return
        level = {"isolation_level": "REPEATABLE READ"} if self.engine.dialect.name == "postgresql" else {}
        with database_errors(), self._connect().execution_options(**level) as connection, connection.begin():
            yield connection

    @retried
    def _rows(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        with self._reading() as connection:
            found = connection.execute(query)
            names = tuple(found.keys())  # mappings of rows would collect them for every row
            return [dict(zip(names, row, strict=True)) for row in found.tuples()]

    @retried
    def _scalars(self, query: sa.Select[Any]) -> Sequence[Any]:
        with self._reading() as connection:
            return connection.scalars(query).all()


def open_engine(url: str) -> sa.Engine:
    """Open the database at a URL and upgrade its tables to the newest revision.

    Raises:
        CatalogError: the database cannot be reached, or is newer than this code.
    """
    try:
        engine = sa.create_engine(url, pool_pre_ping=True)  # a connection from before a restart is replaced
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
    except Exception as error:
        engine.dispose()
        if (problem := _migration_problem(error)) is not None:
            raise problem from error
        raise
    return engine


def _migration_problem(error: Exception) -> CatalogError | None:
    """Return what a failed upgrade of the tables means, None for another error."""
    from alembic.util import CommandError

    if isinstance(error, sa.exc.ProgrammingError):
        return CatalogError(
            "the catalog's tables are older than this code, or not granted yet, and this database role may not upgrade them: "
            "run `python -m vitau.catalog.roles` with VITAU_CATALOG_OWNER, or start the local services again"
        )
    if isinstance(error, CommandError):
        return CatalogError(f"the catalog is newer than this code ({error}): update the code")
    return None


@contextmanager
def database_errors() -> Iterator[None]:
    """Convert the database's operational errors to CatalogError."""
    try:
        yield
    except sa.exc.OperationalError as error:
        raise CatalogError(f"the catalog cannot be reached or written: {str(error.orig).strip()}") from error


def _batches(rows: Sequence[T]) -> Iterator[Sequence[T]]:
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]


def _migrate(engine: sa.Engine) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    newest = tuple(ScriptDirectory.from_config(config).get_heads())
    with engine.connect() as connection, connection.begin():  # a hundred writers at work must not delay who only opens it
        if MigrationContext.configure(connection).get_current_heads() == newest:
            return
    with _unconstrained(engine) as connection, connection.begin():
        if engine.dialect.name == "postgresql":  # advisory lock: of two processes that open it, the second finds it upgraded
            connection.execute(sa.text("SELECT pg_advisory_xact_lock(20250305)"))
        if MigrationContext.configure(connection).get_current_heads() != newest:
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        if engine.dialect.name == "sqlite" and (broken := connection.exec_driver_sql("PRAGMA foreign_key_check").first()):
            raise CatalogError(
                f"the upgrade of the catalog would leave a row of {broken[0]} without its parent: nothing was done"
            )


@contextmanager
def _unconstrained(engine: sa.Engine) -> Iterator[sa.Connection]:
    """Open a connection for migrations. On SQLite it enforces no foreign key: a changed table is replaced by another one."""
    with engine.connect().execution_options(writing=True) as connection:
        driver: Any = connection.connection.dbapi_connection
        if engine.dialect.name == "sqlite":  # within a transaction the setting would have no effect
            driver.execute("PRAGMA foreign_keys=OFF")
        try:
            yield connection
        finally:
            if engine.dialect.name == "sqlite":
                driver.execute("PRAGMA foreign_keys=ON")


def _prepare_sqlite(connection: Any, _: object) -> None:
    connection.isolation_level = None  # SQLAlchemy's BEGIN below replaces the implicit one of the driver
    for pragma in _PRAGMAS:
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    writing = connection.get_execution_options().get("writing", False)
    # a read transaction that turns into a write would fail at once instead of waiting for the lock
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writing else "BEGIN")
