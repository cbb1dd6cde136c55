"""Reads for one person or one reader do not scan the tables that grow, and a long ledger takes little memory."""

import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests.databases import empty_catalog
from vitau.catalog.catalog import Catalog, open_catalog
from vitau.schema import AU, AUS, Cohort, LedgerRow, Side, Stage, Subject

ROW = LedgerRow(
    subject="0" * 32,
    au=AU.AU1,
    reader="reader-a",
    stage=Stage.READER,
    affected=True,
    side=Side.LEFT,
    annotation="1:1",
    version="1",
    answered_at="2026-11-23T00:00:00Z",
)
NUM_ANSWERS = 250


@pytest.fixture
def catalog(tmp_path: Path) -> Catalog:
    catalog = open_catalog(f"sqlite:///{shutil.copy(empty_catalog(), tmp_path / 'catalog.db')}")
    catalog.add_subject(Subject(pseudonym=ROW.subject, cohort=Cohort.PALSY, source="drawn", synthetic=True))
    return catalog


READS: dict[str, Callable[[Catalog], object]] = {
    "the offset": lambda catalog: catalog.ledger_offset(),
    "the head of the chain": lambda catalog: catalog.ledger_digest(7),
    "the newest answers": lambda catalog: catalog.newest_answers(),
    "the newest answers at an offset": lambda catalog: catalog.newest_answers(upto=7),
    "the whole ledger about a person": lambda catalog: catalog.answers_about({"anna", "anne"}),
    "the annotations of a reader": lambda catalog: catalog.ledger_entries("reader-a", Stage.READER),
    "the answers about a person": lambda catalog: catalog.ledger_offsets({"anna", "anne"}),
    "the scores of a person": lambda catalog: catalog.scores(subjects={"anna", "anne"}),
    "the clips of a person": lambda catalog: catalog.find_clips(names={"anna", "anne"}),
    "a clip by the beginning of its digest": lambda catalog: catalog.find_clips(starting="abcdef"),
    "the names that begin so": lambda catalog: catalog.names_starting("abcdef"),
    "a person": lambda catalog: catalog.person(ROW.subject),
    "the scores of a model": lambda catalog: catalog.scores("0" * 64),
    "the model of the newest score": lambda catalog: catalog.last_scored_by(),
    "the counts of answers": lambda catalog: catalog.count_answers(upto=7),
    "appending": lambda catalog: catalog.append_answers([ROW]),
}


GROWING = ("ledger", "scores", "clips", "subjects")
UP_TO = "SEARCH ledger USING INTEGER PRIMARY KEY (rowid<?)"
ALLOWED = {
    "the head of the chain": {UP_TO},  # with a limit of one row
    "appending": {UP_TO, "SCAN subjects USING COVERING INDEX sqlite_autoindex_subjects_1"},  # a name per person
    "the model of the newest score": {"SCAN scores USING COVERING INDEX ix_scores_recorded_at"},  # its last entry
    "the counts of answers": {
        f"SCAN ledger USING COVERING INDEX ix_ledger_{name}" for name in ("reader", "suggested", "measured")
    },
}


@pytest.mark.parametrize("read", READS)
def test_no_query_scans_a_table_that_grows(catalog, read):
    found = plans(catalog, lambda: READS[read](catalog))
    assert found
    assert {step for step in found if any(scans(step, table) for table in GROWING)} <= ALLOWED.get(read, set())


@pytest.mark.parametrize("read", ["broken_ledger_rows", "ledger"])
def test_reading_all_rows_is_seen_as_a_scan(catalog, read):
    assert any(scans(step, "ledger") for step in plans(catalog, getattr(catalog, read)))


def test_answers_are_counted_up_to_an_offset_under_the_names_there(catalog):
    catalog.add_subject(Subject(pseudonym="anna", cohort=Cohort.PALSY, source="drawn", synthetic=True))
    shown = [replace(ROW, version="2", suggestion=0.5), replace(ROW, subject="anna", annotation="1:2", measures_shown="m1")]
    catalog.append_answers([ROW, *shown, replace(ROW, annotation="1:3", stage=Stage.ADJUDICATION)])
    catalog.merge("anna", ROW.subject, why="one face")
    found, then = catalog.count_answers(), catalog.count_answers(upto=2)
    assert (found.by_stage, found.suggested, found.measured) == (
        {Stage.READER: 3, Stage.ADJUDICATION: 1},
        {"anna": 1},
        {"anna": 1},
    )
    assert (then.by_stage, then.suggested, then.measured) == ({Stage.READER: 2}, {ROW.subject: 1}, {})


def test_the_newest_answers_do_not_grow_with_the_history(catalog):
    for version in range(3):
        catalog.append_answers([replace(ROW, version=str(version)), replace(ROW, version=str(version), au=AU.AU2)])
    newest, offset = catalog.newest_answers()
    assert (len(newest), {row.version for row in newest}, offset) == (2, {"2"}, 6)


def test_a_catalog_of_an_earlier_version_gets_its_newest_answers(catalog):
    catalog.append_answers([replace(ROW, version=version, au=au) for version in "12" for au in AUS])
    catalog.append_answers([replace(ROW, version="3", au=AU.AU2)])
    with catalog.engine.connect().execution_options(writing=True) as connection, connection.begin():
        connection.exec_driver_sql("DROP TABLE ledger_newest")
        for index in ("ix_clips_subject", "ix_scores_recorded_at", "ix_ledger_suggested", "ix_ledger_measured"):
            connection.exec_driver_sql(f"DROP INDEX {index}")
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '0030'")
    newest, offset = open_catalog(str(catalog.engine.url)).newest_answers()
    assert [row.version for row in newest] == ["2"] * 7 + ["3"]
    assert offset == 17


def test_equal_values_of_a_long_ledger_are_one_object_in_memory(catalog):
    answers = [replace(ROW, annotation=str(number), au=au) for number in range(NUM_ANSWERS) for au in AUS]
    catalog.append_answers(answers)
    assert catalog.ledger() == answers
    tracemalloc.start()
    kept = catalog.ledger()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(kept) == len(answers)
    assert held / len(kept) < 400  # bytes: a row is 23 references, and its texts would be 600 more


def scans(step: str, table: str) -> bool:
    """Return whether a step of a plan reads a whole table; the newest rows of the ledger are a table of their own."""
    return f"{step} ".startswith(f"SCAN {table} ") or step == UP_TO.replace("ledger", table)


def plans(catalog: Catalog, work: Callable[[], object]) -> list[str]:
    """Return the steps of SQLite's plan of every query that the work sends."""
    sent = []

    def note(_connection, _cursor, statement, parameters, *_):
        sent.append((statement, parameters))

    sa.event.listen(catalog.engine, "before_cursor_execute", note)
    work()
    sa.event.remove(catalog.engine, "before_cursor_execute", note)
    with catalog.engine.connect() as connection:
        queries = [one for one in sent if one[0].startswith(("SELECT", "INSERT", "DELETE"))]
        explained = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values) for sql, values in queries]
        return [row.detail for result in explained for row in result]
