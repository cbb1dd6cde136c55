"""The databases: compacted, so that no deleted row remains in their files, and searched for what a person left in rows."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from flows.erasure.traces import Traces
from vitau.errors import CatalogError

SERVICES: Final = ("label_studio", "mlflow", "prefect")
"""Databases of the services, beside the catalog's on one PostgreSQL server."""
EMPTY_LOG: Final = (
    'as a superuser, run `psql -c "ALTER SYSTEM SET wal_recycle = off" -c "SELECT pg_reload_conf()"`, then 40 times '
    '`psql -c "SELECT pg_switch_wal()" -c CHECKPOINT`, then '
    '`psql -c "ALTER SYSTEM RESET wal_recycle" -c "SELECT pg_reload_conf()"`'
)
"""How an administrator deletes old segments of the write-ahead log, which have the deleted rows."""
_BUSY_S: Final = 60
_GRANTS_MAINTAIN: Final = 170_000
_SEGMENTS: Final = 40
"""More write-ahead segments than PostgreSQL keeps for reuse by default."""


def compact_sqlite(path: Path) -> None:
    """Rewrite an SQLite database without its free pages, and empty its write-ahead log, beside programs that use it.

    Raises:
        CatalogError: another program keeps it locked.
    """
    deadline = time.monotonic() + _BUSY_S
    with closing(sqlite3.connect(path, timeout=_BUSY_S, isolation_level=None)) as connection:
        connection.execute("PRAGMA secure_delete=ON")
        while True:
            try:
                connection.execute("VACUUM")
                busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.OperationalError as error:
                if "locked" not in str(error) and "busy" not in str(error):
                    raise CatalogError(
                        f"{path.name} cannot be compacted ({error}): check the disk, and run it again"
                    ) from error
                busy = 1
            if not busy:
                return
            if time.monotonic() > deadline:
                raise CatalogError(
                    f"{path.name} is in use and cannot be compacted: wait for the running flows, and run it again"
                )
            time.sleep(0.5)


def compact_postgresql(url: str) -> list[str]:
    """Rewrite every table of the catalog's server without dead rows, and delete old write-ahead segments.

    Returns:
        Sentences about what the user of the catalog may not do; a superuser repeats it by hand.
    """
    import psycopg
    from psycopg.sql import SQL, Identifier

    problems = []
    for name in database_names(url):
        try:
            with psycopg.connect(address(url, name), autocommit=True) as connection:
                connection.execute("ANALYZE")  # the statistics have values of columns
                connection.execute("VACUUM FULL")
                if skipped := _num_skipped(connection):
                    problems.append(f"database {name} keeps {skipped} tables of another role: {by_hand(name)}")
        except psycopg.Error as error:
            searched = error.sqlstate is not None  # a refused connection has no state
            done = "not compacted" if searched else "neither compacted nor searched"
            problems.append(f"database {name} is {done} ({first_line(error)}): {by_hand(name, searched=searched)}")
    try:
        with psycopg.connect(address(url), autocommit=True) as connection:
            before = connection.execute("SHOW wal_recycle").fetchone()
            connection.execute("ALTER SYSTEM SET wal_recycle = off")
            connection.execute("SELECT pg_reload_conf()")
            try:
                _delete_segments(connection)
            finally:
                connection.execute(SQL("ALTER SYSTEM SET wal_recycle = {}").format(Identifier(before[0] if before else "on")))
                connection.execute("SELECT pg_reload_conf()")
    except psycopg.Error as error:
        problems.append(f"the write-ahead log is not emptied ({first_line(error)}): {EMPTY_LOG}")
    return problems


def by_hand(database: str, *, searched: bool = True) -> str:
    """Return the commands by which an administrator compacts a database, and first searches it for the person."""
    search = f"`pg_dump {database} | grep -c -e PSEUDONYM` must print 0, then " if not searched else ""
    return f'as its owner, {search}run `psql -d {database} -c "VACUUM FULL"`'


def _num_skipped(connection: Any) -> int:
    """Return how many tables VACUUM leaves out, with no more than a warning, because this role may not maintain them."""
    maintain = "has_table_privilege(oid, 'MAINTAIN')"  # from this version on it can be granted
    allowed = maintain if connection.info.server_version >= _GRANTS_MAINTAIN else "pg_has_role(relowner, 'USAGE')"
    allowed += " OR (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database())"
    row = connection.execute(
        f"SELECT count(*) FROM pg_class WHERE relkind = 'r' AND NOT ({allowed}) AND relnamespace NOT IN "  # noqa: S608 - see above
        "(SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema'))"
    ).fetchone()
    return int(row[0])


def _delete_segments(connection: Any) -> None:
    """Leave every write-ahead segment that existed, also those prepared for reuse, and have them deleted."""
    old = {row[0] for row in connection.execute("SELECT name FROM pg_ls_waldir()") if len(row[0]) == 24}
    for _ in range(_SEGMENTS):
        connection.execute("SELECT pg_logical_emit_message(true, 'vitau', 'erasure')")
        connection.execute("SELECT pg_switch_wal()")
        connection.execute("CHECKPOINT")
        if old.isdisjoint({row[0] for row in connection.execute("SELECT name FROM pg_ls_waldir()")}):
            return


def traces_in_postgresql(url: str, traces: Traces) -> Iterator[str]:
    """Yield the tables of the catalog's server, ``database.table``, that have a row with a trace.

    A database that this role may not enter is left out: :func:`compact_postgresql` names it.
    """
    import psycopg
    from psycopg.sql import SQL, Identifier

    wanted = [f"%{text}%" for text in traces.texts]
    with psycopg.connect(address(url)) as connection:
        query = "SELECT datname FROM pg_database WHERE has_database_privilege(oid, 'CONNECT')"
        entered = {row[0] for row in connection.execute(query)}
    for name in database_names(url):
        if name not in entered:
            continue
        with psycopg.connect(address(url, name), autocommit=True) as connection:
            tables = connection.execute(
                "SELECT table_schema, table_name FROM information_schema.tables WHERE table_type = 'BASE TABLE' "
                "AND table_schema NOT IN ('information_schema', 'pg_catalog')"
            ).fetchall()
            for schema, table in tables:
                has_trace = SQL("SELECT 1 FROM {} AS found WHERE found::text LIKE ANY(%s) LIMIT 1").format(
                    Identifier(schema, table)
                )
                if connection.execute(has_trace, [wanted]).fetchone() is not None:
                    yield f"{name}.{table}"


def traces_in_sqlite(path: Path, traces: Traces) -> Iterator[str]:
    """Yield the tables of an SQLite database that have a row with a trace."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=_BUSY_S)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        for name in names:
            quoted = name.replace('"', '""')
            for row in connection.execute(f'SELECT * FROM "{quoted}"'):  # noqa: S608 - a name from the schema, quoted
                if any(_has_trace(value, traces) for value in row):
                    yield f"{path.name}.{name}"
                    break


def _has_trace(value: object, traces: Traces) -> bool:
    return traces.in_bytes(value) if isinstance(value, bytes) else isinstance(value, str) and traces.in_text(value)


def database_names(url: str) -> Sequence[str]:
    """Return the databases of the catalog's server that an erasure works on: the catalog's own, and those of the services."""
    import psycopg

    own = unquote(urlsplit(url).path.lstrip("/"))
    with psycopg.connect(address(url)) as connection:
        known = {row[0] for row in connection.execute("SELECT datname FROM pg_database WHERE datallowconn")}
    return [own, *(name for name in SERVICES if name in known and name != own)]


def address(url: str, database: str | None = None) -> str:
    """Return the address of a database for psycopg, from SQLAlchemy's address of the catalog."""
    parts = urlsplit(url.replace("postgresql+psycopg://", "postgresql://", 1))
    return (parts if database is None else parts._replace(path=f"/{database}")).geturl()


def first_line(error: Exception) -> str:
    """Return the first line of an error."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
