"""The databases of PostgreSQL and their roles: a service enters its own database only, and no service is the superuser.

`infra/databases.sql` defines the roles, here as in containers. It runs at every start, because a state folder of an earlier
version has one superuser for everything.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from flows.local_stack.state import HOST, port_of, read_secrets
from flows.settings import ROOT
from vitau.errors import StackError

SUPERUSER: Final = "vitau"
"""It sets up roles and databases at the start; no program connects with it afterwards."""
WRITER, ERASER = "catalog_writer", "eraser"
OWNERS: Final = {"vitau": "catalog_owner", "prefect": "prefect", "mlflow": "mlflow", "label_studio": "label_studio"}
"""Database → the role that owns its tables."""
ROLES: Final = (*OWNERS.values(), WRITER, ERASER)
_SCRIPT: Final = ROOT / "infra" / "databases.sql"
_OWN_OBJECTS: Final = """
WITH superuser AS (SELECT oid FROM pg_roles WHERE rolname = current_user),
spaces AS (SELECT * FROM pg_namespace WHERE nspname NOT LIKE 'pg\\_%' AND nspname <> 'information_schema'),
of_extensions AS (SELECT classid, objid FROM pg_depend WHERE deptype = 'e'),
of_columns AS (SELECT objid FROM pg_depend WHERE classid = 'pg_class'::regclass AND deptype IN ('a', 'i'))
SELECT 'SCHEMA', quote_ident(nspname) FROM spaces, superuser WHERE nspowner = superuser.oid
UNION ALL
SELECT CASE relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, kept.oid::regclass::text FROM pg_class AS kept, superuser
WHERE relowner = superuser.oid AND relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND relnamespace IN (SELECT oid FROM spaces)
AND NOT (relkind = 'S' AND kept.oid IN (SELECT objid FROM of_columns))
AND ('pg_class'::regclass, kept.oid) NOT IN (SELECT * FROM of_extensions)
UNION ALL
SELECT 'ROUTINE', kept.oid::regprocedure::text FROM pg_proc AS kept, superuser
WHERE proowner = superuser.oid AND pronamespace IN (SELECT oid FROM spaces)
AND ('pg_proc'::regclass, kept.oid) NOT IN (SELECT * FROM of_extensions)
UNION ALL
SELECT 'TYPE', kept.oid::regtype::text FROM pg_type AS kept, superuser
WHERE typowner = superuser.oid AND typtype IN ('e', 'd', 'r') AND typnamespace IN (SELECT oid FROM spaces)
AND ('pg_type'::regclass, kept.oid) NOT IN (SELECT * FROM of_extensions)
"""
"""Kind and name of what the superuser owns in a database. Sequences of columns follow their tables, members an extension."""


def database_url(state: Path, addresses: Mapping[str, str], database: str, *, driver: str, role: str = "") -> str:
    """Return the address of a database with the password of a role, by default of the owner of its tables."""
    role = role or OWNERS[database]
    secret = read_secrets(state)["postgresql_password" if role == SUPERUSER else f"database_{role}"]
    return f"postgresql+{driver}://{role}:{secret}@{HOST}:{port_of(addresses['postgresql'])}/{database}"


def access_rules() -> str:
    """Return PostgreSQL's pg_hba.conf: on loopback, each role reaches its own databases, and by its password only."""
    rules = [(database, owner) for database, owner in OWNERS.items()]
    rules += [("vitau", WRITER), (",".join(OWNERS), ERASER), ("all", SUPERUSER)]
    lines = (f"host {databases} {role} {HOST}/32 scram-sha-256" for databases, role in rules)
    return "\n".join(("# written at every start", *lines, ""))


def prepare_databases(state: Path, addresses: Mapping[str, str], programs: Path) -> None:
    """Create missing roles and databases, set the passwords, and hand over what a superuser of before owns; idempotent.

    Args:
        state: the folder with the secrets.
        addresses: of the services.
        programs: folder of PostgreSQL's programs.

    Raises:
        StackError: the server refuses.
    """
    kept = read_secrets(state)
    done = subprocess.run(
        [
            *(str(programs / "psql"), "--no-psqlrc", "--quiet", f"--host={HOST}", f"--port={port_of(addresses['postgresql'])}"),
            *(f"--username={SUPERUSER}", "--dbname=postgres", f"--file={_SCRIPT}"),
        ],
        env={
            "PATH": os.environ.get("PATH", os.defpath),
            "PGPASSWORD": kept["postgresql_password"],
            **{f"database_{role}": kept[f"database_{role}"] for role in ROLES},
        },
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StackError(f"PostgreSQL's roles cannot be made: {_reason(done.stderr)}")
    for database, owner in OWNERS.items():
        hand_over(database_url(state, addresses, database, driver="psycopg", role=SUPERUSER), owner)


def hand_over(url: str, owner: str) -> int:
    """Make a role the owner of everything that the superuser owns in a database; return the number of objects.

    An earlier version made the tables as the superuser. REASSIGN OWNED refuses the first superuser of a server, who owns the
    system's tables as well.
    """
    import psycopg
    from psycopg.sql import SQL, Identifier

    with psycopg.connect(url.replace("+psycopg", "", 1)) as connection:
        found = connection.execute(_OWN_OBJECTS).fetchall()
        for kind, name in found:  # both from the system's tables, where names are quoted
            connection.execute(SQL(f"ALTER {kind} {name} OWNER TO {{}}").format(Identifier(owner)))
    return len(found)


def upgrade_catalog(state: Path, addresses: Mapping[str, str]) -> None:
    """Upgrade the catalog as the owner of its tables, and grant the writer; idempotent.

    Raises:
        StackError: the catalog is newer than this code, or the server refuses.
    """
    done = subprocess.run(
        [sys.executable, "-m", "vitau.catalog.roles"],
        env={
            **os.environ,
            "VITAU_CATALOG": database_url(state, addresses, "vitau", driver="psycopg", role=WRITER),
            "VITAU_CATALOG_OWNER": database_url(state, addresses, "vitau", driver="psycopg"),
        },
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StackError(f"the catalog cannot be upgraded: {_reason(done.stderr)}")


def _reason(text: str) -> str:
    """Return the first error of a program; the lines after psql's can repeat the statement with its password."""
    lines = text.strip().splitlines() or ["no message"]
    return next((line for line in lines if "error:" in line.lower()), lines[-1])
