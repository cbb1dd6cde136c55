"""Database roles of PostgreSQL: the owner of the ledger migrates it and is not its writer.

Flows connect as the writer, which can read everything, append to the ledger and the record of promotions, and change neither.
It owns nothing: it cannot drop a trigger, truncate a table or create one. The one exception, forgetting a person, is a function
of the owner. Open the catalog once as the owner after every upgrade and call :func:`grant_writer` again.
"""

from typing import Final

import sqlalchemy as sa

from vitau.catalog.engine import database_errors

APPEND_ONLY: Final = ("ledger", "ledger_details", "merges", "promotions")
"""Tables in which the writer may insert, and neither update nor delete."""

_MAINTAIN: Final = (17,)
"""Version of PostgreSQL from which on a role that does not own a table may vacuum it."""

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
        f"REVOKE INSERT, UPDATE, DELETE ON alembic_version FROM {role}",
        _FORGET,
        "REVOKE ALL ON FUNCTION forget_subject(text) FROM PUBLIC",
        f"GRANT EXECUTE ON FUNCTION forget_subject(text) TO {role}",
    )
    with database_errors(), engine.begin() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)
        if (engine.dialect.server_version_info or (0,)) >= _MAINTAIN:  # an erasure vacuums the tables
            connection.exec_driver_sql(f"GRANT MAINTAIN ON ALL TABLES IN SCHEMA public TO {role}")
