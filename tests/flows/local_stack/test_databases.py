"""The databases of the full profile on a real PostgreSQL: roles, passwords, and a state folder of an earlier version."""

import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from flows.local_stack import backends, supervisor
from flows.local_stack.databases import (
    ERASER,
    OWNERS,
    ROLES,
    SUPERUSER,
    WRITER,
    database_url,
    hand_over,
    prepare_databases,
    upgrade_catalog,
)
from flows.local_stack.stack import Service
from flows.local_stack.state import HOST, free_ports, read_secrets
from flows.local_stack.supervisor import ManagedService
from vitau.catalog.catalog import open_catalog
from vitau.schema import Cohort, Subject

PROGRAMS = backends.postgresql_programs()
pytestmark = pytest.mark.skipif(not (PROGRAMS / "initdb").exists(), reason="needs Debian's package postgresql")

OF_AN_EARLIER_VERSION = """
CREATE EXTENSION pg_trgm;
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE notes (number serial PRIMARY KEY, text varchar, mood mood DEFAULT 'good');
CREATE INDEX ON notes USING gin (text gin_trgm_ops);
CREATE SEQUENCE "Alone";
CREATE VIEW good_notes AS SELECT * FROM notes WHERE mood = 'good';
CREATE FUNCTION num_notes(integer DEFAULT 0) RETURNS bigint LANGUAGE sql AS 'SELECT count(*) FROM notes';
CREATE SCHEMA "Own space";
CREATE TABLE "Own space"."Kept" (number integer);
INSERT INTO notes (text) VALUES ('kept');
"""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A running PostgreSQL of the full profile."""

    state: Path
    addresses: dict[str, str]

    def url(self, database: str, role: str) -> str:
        return database_url(self.state, self.addresses, database, driver="psycopg", role=role)

    def run(self, role: str, database: str, *statements: str) -> list[tuple[object, ...]]:
        with psycopg.connect(self.url(database, role).replace("+psycopg", "")) as connection:
            for statement in statements:
                cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else []

    def refused(self, role: str, database: str, statement: str = "SELECT 1") -> str:
        try:
            self.run(role, database, statement)
        except psycopg.Error as error:
            return str(error)
        return ""

    def prepare(self) -> None:
        prepare_databases(self.state, self.addresses, PROGRAMS)
        upgrade_catalog(self.state, self.addresses)


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """PostgreSQL as the supervisor starts it, with databases that an earlier version made as the superuser."""
    state = Path(tempfile.mkdtemp(prefix="vitau-roles-"))  # PostgreSQL's user may not enter pytest's folder
    (port,) = free_ports(1)
    started = Server(state=state, addresses={"postgresql": f"postgresql://{HOST}:{port}"})
    program = backends.postgresql(state, started.addresses)
    managed = ManagedService(program=program, service=Service(name="postgresql", url="", health=program.health, pid=0))
    try:
        deadline = time.monotonic() + 60
        while not managed.ready and time.monotonic() < deadline:
            supervisor.check_service(managed, [managed], state)
            time.sleep(0.1)
        assert managed.ready
        postgres = f"postgresql://{SUPERUSER}:{read_secrets(state)['postgresql_password']}@{HOST}:{port}/postgres"
        with psycopg.connect(postgres, autocommit=True) as connection:
            for database in OWNERS:
                connection.execute(f"CREATE DATABASE {database}")
        catalog = open_catalog(started.url("vitau", SUPERUSER))
        catalog.add_subject(Subject(pseudonym="anna", cohort=Cohort.PALSY, source="s"))
        catalog.engine.dispose()
        started.run(SUPERUSER, "label_studio", OF_AN_EARLIER_VERSION)
        for _ in range(2):  # at every start
            started.prepare()
        yield started
    finally:
        supervisor.stop_services([managed])
        shutil.rmtree(state, ignore_errors=True)


def test_a_state_of_an_earlier_version_is_handed_over_to_its_services_with_all_rows(server):
    for database, owner in OWNERS.items():
        assert hand_over(server.url(database, SUPERUSER), owner) == 0, "something still belongs to the superuser"
    assert server.run(
        "label_studio",
        "label_studio",
        "ALTER TABLE notes ADD COLUMN another integer",
        "ALTER TYPE mood ADD VALUE 'mixed'",
        "INSERT INTO notes (text) VALUES ('new')",
        "SELECT nextval('\"Alone\"')",
        "DROP VIEW good_notes",
        "CREATE OR REPLACE FUNCTION num_notes(integer DEFAULT 0) RETURNS bigint LANGUAGE sql AS 'SELECT 2::bigint'",
        'ALTER TABLE "Own space"."Kept" ADD COLUMN another integer',
        'DROP SCHEMA "Own space" CASCADE',
        "SELECT number, text FROM notes ORDER BY number",
    ) == [(1, "kept"), (2, "new")]
    catalog = open_catalog(server.url("vitau", WRITER))
    assert [subject.pseudonym for subject in catalog.subjects()] == ["anna"]
    catalog.add_subject(Subject(pseudonym="bert", cohort=Cohort.PALSY, source="s"))
    catalog.engine.dispose()


def test_every_role_needs_its_password_and_is_refused_at_the_databases_of_others(server):
    own = {role: {database for database, owner in OWNERS.items() if owner == role} for role in ROLES}
    own |= {WRITER: {"vitau"}, ERASER: set(OWNERS)}
    for role in ROLES:
        for database in (*OWNERS, "postgres", "template1"):
            assert bool(server.refused(role, database)) != (database in own[role]), f"{role} at {database}"
    for role in (*ROLES, SUPERUSER):
        (database, *_) = own.get(role, {"vitau"})
        for password in ("", role, read_secrets(server.state)["s3_secret"]):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(
                    host=HOST,
                    port=server.addresses["postgresql"].rpartition(":")[2],
                    user=role,
                    password=password,
                    dbname=database,
                )


def test_no_rule_of_the_server_trusts_and_none_admits_a_role_to_all_databases_but_the_superuser(server):
    rules = server.run(SUPERUSER, "postgres", "SELECT database, user_name, auth_method, error FROM pg_hba_file_rules")
    assert {(method, error) for *_, method, error in rules} == {("scram-sha-256", None)}
    assert [users for databases, users, *_ in rules if "all" in databases] == [[SUPERUSER]]
    assert server.run(SUPERUSER, "postgres", "SHOW password_encryption") == [("scram-sha-256",)]


@pytest.mark.parametrize("statement", ["UPDATE ledger SET affected = TRUE", "DELETE FROM ledger", "TRUNCATE ledger"])
@pytest.mark.parametrize("role", [WRITER, ERASER])
def test_neither_the_writer_nor_the_eraser_changes_the_ledger(server, role, statement):
    assert "permission denied for table ledger" in server.refused(role, "vitau", statement)


@pytest.mark.parametrize("role", ROLES)
def test_no_role_is_a_superuser_or_runs_programs_or_reads_files_of_the_server(server, role):
    (database, *_) = [name for name, owner in OWNERS.items() if role == owner] or ["vitau"]
    facts = (
        "SELECT rolsuper, rolcreaterole, rolcreatedb, rolreplication, rolbypassrls FROM pg_roles WHERE rolname = current_user"
    )
    assert server.run(role, database, facts) == [(False,) * 5]
    assert server.refused(role, database, "COPY (SELECT 1) TO PROGRAM 'true'")
    assert server.refused(role, database, "SELECT pg_read_file('PG_VERSION')")


def test_a_password_that_was_drawn_anew_holds_after_the_next_start(server):
    path = server.state / "secrets.json"
    before = path.read_text()
    old = server.url("mlflow", "mlflow").replace("+psycopg", "")
    kept = read_secrets(server.state)
    path.write_text(before.replace(kept["database_mlflow"], "0" * 40))
    server.prepare()
    assert server.refused("mlflow", "mlflow") == ""
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(old)


def test_the_dump_of_a_backup_restores_the_catalog_for_its_roles(server, tmp_path):
    dump = tmp_path / "vitau.dump"
    address = server.url("vitau", SUPERUSER).replace("+psycopg", "")
    subprocess.run([PROGRAMS / "pg_dump", "--format=custom", f"--file={dump}", address], check=True)
    subprocess.run([PROGRAMS / "pg_restore", "--clean", "--exit-on-error", f"--dbname={address}", dump], check=True)
    server.prepare()
    assert server.refused(WRITER, "vitau", "INSERT INTO objects SELECT * FROM objects") == ""
    assert "permission denied" in server.refused(WRITER, "vitau", "DELETE FROM ledger")
