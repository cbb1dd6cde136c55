"""Database roles of PostgreSQL: the owner of the ledger migrates it and is not its writer.

Flows connect as the writer, which can read everything. It appends to the ledger, the record of promotions and the list of
looks, and changes none of them. It owns nothing: it cannot drop a trigger, truncate a table or create one. The one exception,
forgetting a person, is a function of the owner. ``python -m vitau.catalog.roles`` upgrades the catalog as its owner and grants
the writer: run it at every start, before the workers. With ``--wait`` it waits, as the writer, until another process did that.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Final

import sqlalchemy as sa

from vitau.catalog.engine import database_errors, open_engine
from vitau.errors import CatalogError, VitauError

APPEND_ONLY: Final = ("ledger", "ledger_details", "merges", "promotions", "looks")
"""Tables in which the writer may insert, and neither update nor delete."""

OWNER: Final = "VITAU_CATALOG_OWNER"
WRITER: Final = "VITAU_CATALOG"
WAIT_S: Final = 600.0

_MAINTAIN: Final = (17,)
"""Version of PostgreSQL from which on a role that does not own a table may vacuum it."""

_NOT_GRANTED: Final = (
    "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' "
    "AND NOT has_table_privilege(oid, 'SELECT')"
)

_FORGET: Final = """
CREATE OR REPLACE FUNCTION forget_subject(name text) RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
DECLARE
    erased text := 'erased-' || left(encode(sha256(convert_to('vitau tombstone ' || name, 'UTF8')), 'hex'), 32);
    changed bigint := 0;
    part bigint;
BEGIN
    UPDATE ledger SET subject = erased WHERE subject = name;
    GET DIAGNOSTICS part = ROW_COUNT; changed := changed + part;
    UPDATE merges SET kept = erased WHERE kept = name;
    GET DIAGNOSTICS part = ROW_COUNT; changed := changed + part;
    UPDATE merges SET merged = erased WHERE merged = name;
    GET DIAGNOSTICS part = ROW_COUNT; changed := changed + part;
    DELETE FROM ledger_details WHERE "offset" IN (
        SELECT "offset" FROM ledger WHERE subject = erased
        UNION ALL SELECT "offset" FROM merges WHERE kept = erased OR merged = erased);
    RETURN changed;
END $$
"""


def grant_writer(engine: sa.Engine, writer: str) -> None:
    """Grant an existing role what flows need, as the owner of the tables; idempotent.

    Args:
        engine: of the owner, on PostgreSQL, from ``open_engine``.
        writer: the role. It must own nothing here and must not be a superuser.

    Raises:
        CatalogError: the database cannot be reached.
    """
    role = engine.dialect.identifier_preparer.quote(writer)
    tables = ", ".join(APPEND_ONLY)
    statements = (
        f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}",
        f"REVOKE CREATE ON SCHEMA public FROM PUBLIC, {role}",
        f"GRANT USAGE ON SCHEMA public TO {role}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
        f"REVOKE UPDATE, DELETE ON {tables} FROM {role}",
        f"REVOKE INSERT, UPDATE, DELETE ON alembic_version, rekeyings FROM {role}",
        _FORGET,
        "REVOKE ALL ON FUNCTION forget_subject(text) FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION forget_subject(text) TO {role}",
    )
    with database_errors(), engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        if (engine.dialect.server_version_info or (0,)) >= _MAINTAIN:  # an erasure vacuums the tables
            connection.exec_driver_sql(f"GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO {role}")


def upgrade(owner_url: str, writer_url: str) -> None:
    """Upgrade the catalog's tables as their owner, and grant the role of the writer's address; idempotent.

    Raises:
        CatalogError: the addresses are not two roles of one PostgreSQL database, or the first one does not own the tables.
    """
    owner, writer = _parse(OWNER, owner_url), _parse(WRITER, writer_url)
    if owner.username == writer.username or not writer.username:
        raise CatalogError(
            f"{OWNER} and {WRITER} name one role, {owner.username}: flows must not own the ledger that they write"
        )
    if owner.database != writer.database:
        raise CatalogError(f"{OWNER} names the database {owner.database} and {WRITER} {writer.database}: name the same one")
    engine = open_engine(owner_url)
    try:
        grant_writer(engine, writer.username)
    except sa.exc.ProgrammingError as error:
        reason = str(error.orig).strip().splitlines()[0]
        raise CatalogError(
            f"the role of {OWNER} cannot grant {writer.username} ({reason}): name the owner of the tables"
        ) from error
    finally:
        engine.dispose()


def wait_until_granted(writer_url: str, timeout_s: float, poll_s: float = 2) -> None:
    """Wait until the catalog has the tables of this code, and its writer may use all of them.

    Raises:
        CatalogError: that did not happen in time; the message has the last reason.
    """
    deadline = time.monotonic() + timeout_s
    while (problem := _not_ready(writer_url)) is not None:
        if time.monotonic() > deadline:
            raise CatalogError(f"the catalog was not ready within {timeout_s:.0f} s: {problem}")
        time.sleep(poll_s)


def _not_ready(url: str) -> str | None:
    try:
        engine = open_engine(url)
    except CatalogError as error:
        return str(error)
    try:
        with database_errors(), engine.connect() as connection:
            number = connection.exec_driver_sql(_NOT_GRANTED).scalar_one()
    except CatalogError as error:
        return str(error)
    finally:
        engine.dispose()
    return f"its owner has not granted {number} tables yet" if number else None


def _parse(name: str, url: str) -> sa.URL:
    try:
        parsed = sa.make_url(url)
    except sa.exc.ArgumentError:
        parsed = sa.make_url("unreadable://")
    if parsed.get_backend_name() != "postgresql":
        raise CatalogError(
            f"{name} is not the address of a PostgreSQL database, and no other has roles: set {OWNER} and {WRITER}"
        )
    return parsed


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> None:
    """Upgrade the catalog by the addresses in the environment, or wait for that; a failure is one sentence and exit code 1."""
    writer = environ.get(WRITER, "")
    try:
        if "--wait" in arguments:
            wait_until_granted(writer, WAIT_S)
        else:
            upgrade(environ.get(OWNER, ""), writer)
    except VitauError as error:
        raise SystemExit(f"Error: {error}") from None


if __name__ == "__main__":
    main(sys.argv[1:], os.environ)
