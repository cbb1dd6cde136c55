"""Reads for one person or one reader do not scan the tables that grow, and a long ledger takes little memory."""

import shutil
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

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
def catalog(sqlite_template: Path, tmp_path: Path) -> Catalog:
    catalog = open_catalog(f"sqlite:///{shutil.copy(sqlite_template, tmp_path / 'catalog.db')}")
    catalog.add_subject(Subject(pseudonym=ROW.subject, cohort=Cohort.PALSY, source="drawn", synthetic=True))
    return catalog


READS: dict[str, Callable[[Catalog], object]] = {
    "the offset": lambda catalog: catalog.ledger_offset(),
    "the head of the chain": lambda catalog: catalog.ledger_digest(7),
    "the annotations of a reader": lambda catalog: catalog.ledger_entries("reader-a", Stage.READER),
    "the answers about a person": lambda catalog: catalog.ledger_offsets({"anna", "anne"}),
    "the scores of a person": lambda catalog: catalog.scores(subjects={"anna", "anne"}),
    "the scores of a model": lambda catalog: catalog.scores("0" * 64),
    "appending": lambda catalog: catalog.append_answers([ROW]),
}


@pytest.mark.parametrize("read", READS)
def test_no_query_scans_the_ledger_or_the_scores(catalog, read):
    found = plans(catalog, lambda: READS[read](catalog))
    assert found
    assert not [step for step in found if step.startswith(("SCAN ledger", "SCAN scores"))]


def test_a_check_of_all_rows_is_seen_as_a_scan(catalog):
    assert any(step.startswith("SCAN ledger") for step in plans(catalog, catalog.broken_ledger_rows))


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


def plans(catalog: Catalog, work: Callable[[], object]) -> list[str]:
    """Return the steps of SQLite's plan of every query that the work sends."""
    sent = []

    def note(_connection, _cursor, statement, parameters, *_):
        sent.append((statement, parameters))

    sa.event.listen(catalog.engine, "before_cursor_execute", note)
    work()
    sa.event.remove(catalog.engine, "before_cursor_execute", note)
    with catalog.engine.connect() as connection:
        queries = [one for one in sent if one[0].startswith("SELECT")]
        explained = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values) for sql, values in queries]
        return [row.detail for result in explained for row in result]
