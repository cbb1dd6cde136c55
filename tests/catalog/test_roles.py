"""The writer of the ledger on PostgreSQL is not its owner: it appends, reads and forgets, and can do nothing else."""

import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from vitau.catalog.catalog import Catalog, open_catalog
from vitau.catalog.roles import grant_writer, upgrade, wait_until_granted
from vitau.errors import CatalogError
from vitau.schema import AU, Cohort, LedgerRow, RegionLabels, Stage, Subject, tombstone

ANSWER = LedgerRow(
    subject="anna",
    au=AU.AU1,
    reader="reader-a",
    stage=Stage.READER,
    affected=False,
    side=None,
    annotation="1",
    version="v",
    answered_at="2026-11-23T00:00:00Z",
    note="a note",
)


@pytest.fixture
def writer(new_catalog: Callable[[], Catalog]) -> Iterator[Catalog]:
    """The catalog, opened as a role that its owner granted what flows need."""
    owner = new_catalog()
    role = f"writer_{uuid.uuid4().hex[:8]}"
    with owner.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN PASSWORD 'of these tests'")
    for _ in range(2):  # again after an upgrade
        grant_writer(owner.engine, role)
    url = owner.engine.url.set(username=role, password="of these tests")
    writer = open_catalog(url.render_as_string(hide_password=False))
    yield writer
    writer.engine.dispose()
    with owner.engine.begin() as connection:
        connection.exec_driver_sql(f"DROP OWNED BY {role}")
        connection.exec_driver_sql(f"DROP ROLE {role}")


@pytest.mark.parametrize("new_catalog", ["postgresql"], indirect=True)
def test_the_writer_appends_and_forgets_and_cannot_change_the_ledger(writer):
    for name in ("anna", "bert"):
        writer.add_subject(Subject(pseudonym=name, cohort=Cohort.PALSY, source="s"))
    assert writer.append_answers([ANSWER]) == 1
    assert writer.merge("anna", "bert", why="same face")
    assert writer.set_labels([RegionLabels(subject="anna", affected={AU.AU1: False})], ledger_offset=1)
    writer.append_promotion({"model": "m", "version": 1, "action": "promoted", "before": None, "after": 1}, key=b"k" * 32)
    for statement in (
        "UPDATE ledger SET affected = TRUE",
        "DELETE FROM ledger",
        "TRUNCATE ledger",
        "DELETE FROM ledger_details",
        "UPDATE merges SET kept = 'bert'",
        "DELETE FROM promotions",
        "DROP TRIGGER ledger_no_change ON ledger",
        "ALTER TABLE ledger DISABLE TRIGGER ALL",
        "DROP TABLE ledger",
        "CREATE TABLE another (number integer)",
        "SET session_replication_role = replica",
        "UPDATE alembic_version SET version_num = '0001'",
        "CREATE OR REPLACE FUNCTION forget_subject(name text) RETURNS bigint LANGUAGE sql AS 'SELECT 1'",
    ):
        with pytest.raises(sa.exc.ProgrammingError), writer.engine.begin() as connection:
            connection.exec_driver_sql(statement)
    writer.set_labels([], ledger_offset=1)
    writer.begin_erasure({"anna", "bert"})
    assert writer.forget({"anna", "bert"}) == 3
    assert [(row.subject, row.note) for row in writer.ledger()] == [(tombstone("anna"), None)]
    assert writer.broken_ledger_rows() == {}


@pytest.mark.parametrize("new_catalog", ["postgresql"], indirect=True)
def test_the_function_of_the_owner_forgets_nobody_outside_an_erasure(writer):
    writer.add_subject(Subject(pseudonym="anna", cohort=Cohort.PALSY, source="s"))
    writer.append_answers([ANSWER])
    with pytest.raises(sa.exc.IntegrityError, match="the ledger only grows"), writer.engine.begin() as connection:
        connection.exec_driver_sql("SELECT forget_subject('anna')")
    assert writer.broken_ledger_rows() == {}


@pytest.fixture
def two_roles(postgresql_url: str) -> Iterator[tuple[str, str]]:
    """The addresses of the owner and of the writer of an empty database."""
    name = f"roles_{uuid.uuid4().hex[:8]}"
    server = sa.create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    roles = (f"{name}_owner", f"{name}_writer")
    with server.connect() as connection:
        for role in roles:
            connection.exec_driver_sql(f"CREATE ROLE {role} LOGIN")
        connection.exec_driver_sql(f"CREATE DATABASE {name} OWNER {roles[0]}")
    owner, writer = (
        sa.make_url(postgresql_url).set(username=role, database=name).render_as_string(hide_password=False) for role in roles
    )
    yield owner, writer
    with server.connect() as connection:
        connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        for role in roles:
            connection.exec_driver_sql(f"DROP ROLE {role}")
    server.dispose()


def run(owner: str, writer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "vitau.catalog.roles", *arguments],
        env={"VITAU_CATALOG_OWNER": owner, "VITAU_CATALOG": writer, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_writer_waits_until_the_owner_has_upgraded_the_tables_and_granted_them(two_roles):
    owner, writer = two_roles
    with pytest.raises(CatalogError, match=r"^the catalog was not ready within 0 s: .*may not upgrade them"):
        wait_until_granted(writer, 0)
    open_catalog(owner).engine.dispose()
    with pytest.raises(CatalogError, match=r"^the catalog was not ready within 0 s: .*or not granted yet"):
        wait_until_granted(writer, 0)
    waiting = threading.Thread(target=wait_until_granted, args=(writer, 60, 0.1))
    waiting.start()
    done = run(owner, writer)
    assert (done.returncode, done.stderr) == (0, "")
    waiting.join()
    assert run("", writer, "--wait").returncode == 0
    engine = sa.create_engine(owner)
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE of_a_later_version ()")
    engine.dispose()
    with pytest.raises(CatalogError, match=r"^the catalog was not ready within 0 s: its owner has not granted 1 tables yet$"):
        wait_until_granted(writer, 0)
    assert run(owner, writer).returncode == 0
    wait_until_granted(writer, 0)
    catalog = open_catalog(writer)
    catalog.add_subject(Subject(pseudonym="anna", cohort=Cohort.PALSY, source="s"))
    catalog.engine.dispose()


def test_an_upgrade_by_addresses_that_are_not_an_owner_and_a_writer_is_one_sentence(two_roles):
    owner, writer = two_roles
    done = run(owner, owner)
    name = sa.make_url(owner).username
    assert (done.returncode, done.stderr) == (
        1,
        f"Error: VITAU_CATALOG_OWNER and VITAU_CATALOG name one role, {name}: flows must not own the ledger that they write\n",
    )
    with pytest.raises(CatalogError, match=r"VITAU_CATALOG_OWNER is not the address of a PostgreSQL database"):
        upgrade("sqlite:////catalog.db", writer)
    with pytest.raises(CatalogError, match=r"VITAU_CATALOG is not the address of a PostgreSQL database"):
        upgrade(owner, "")
    with pytest.raises(CatalogError, match=r"names the database \w+ and VITAU_CATALOG another: name the same one"):
        upgrade(owner, sa.make_url(writer).set(database="another").render_as_string(hide_password=False))
    upgrade(owner, writer)
    with pytest.raises(
        CatalogError,
        match=r"^the role of VITAU_CATALOG_OWNER cannot grant \w+ \(permission denied .*: name the owner of the tables$",
    ):
        upgrade(writer, owner)
