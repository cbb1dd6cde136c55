"""The writer of the ledger on PostgreSQL is not its owner: it appends, reads and forgets, and can do nothing else."""

import uuid
from collections.abc import Callable, Iterator

import pytest
import sqlalchemy as sa

from vitau.catalog.catalog import Catalog, open_catalog
from vitau.catalog.roles import grant_writer
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
