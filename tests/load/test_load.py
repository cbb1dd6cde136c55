"""A small load on the ledger and the store, and figures that would show a loss."""

from pathlib import Path

import pytest

from tests.load import writers
from tests.load.measure import HEAD, Clock, Figures, percentile, run_writers
from tests.load.writers import ANSWERS, OWN_OBJECTS, SHARED_OBJECTS, write_ledger, write_store
from vitau.catalog.catalog import Catalog
from vitau.schema import AUS
from vitau.store import FolderStore


def test_ten_writers_lose_nothing_and_create_nothing_twice(tmp_path: Path) -> None:
    ledger = write_ledger("ledger", f"sqlite:///{tmp_path / 'ledger.db'}", processes=2, threads=5)
    assert (ledger.pieces, ledger.lost, ledger.duplicated) == (10 * ANSWERS * len(AUS), 0, 0)
    assert len(ledger.latencies_s) == 10 * ANSWERS
    store = write_store("store", (tmp_path / "objects").as_uri(), processes=2, threads=5)
    assert (store.pieces, store.lost, store.duplicated) == (10 * OWN_OBJECTS + SHARED_OBJECTS, 0, 0)


def test_a_lost_answer_and_a_second_one_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger = Catalog.ledger
    monkeypatch.setattr(Catalog, "ledger", lambda self: [*(rows := ledger(self))[2:], rows[-1]])
    figures = write_ledger("ledger", f"sqlite:///{tmp_path / 'ledger.db'}", processes=1, threads=2)
    assert (figures.lost, figures.duplicated) == (2, 1)


def test_a_lost_object_a_changed_one_and_a_second_winner_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create, objects = FolderStore._create, writers._objects

    def careless(self: FolderStore, key: str, data: bytes) -> bool:
        if key == "load/0/1":
            return True  # it is not written
        create(self, key, data[1:] if key == "load/0/2" else data)
        return True  # whoever was first

    monkeypatch.setattr(FolderStore, "_create", careless)
    monkeypatch.setattr(writers, "_objects", lambda writer: [*objects(writer)[:3], objects(writer)[-1]])
    figures = write_store("store", (tmp_path / "objects").as_uri(), processes=1, threads=2)
    assert (figures.pieces, figures.lost, figures.duplicated) == (7, 2, 1)


def test_a_writer_that_fails_ends_the_load() -> None:
    def fail(number: int, _: Clock) -> None:
        raise ValueError(f"writer {number}")

    with pytest.raises(RuntimeError, match=r"^2 of 2 writers failed: ValueError: writer "):
        run_writers(fail, processes=1, threads=2)


def test_a_row_of_the_table_has_the_nearest_percentiles() -> None:
    assert [percentile([4, 1, 3, 2], share) for share in (0, 0.5, 0.95)] == [1, 2, 4]
    figures = Figures(name="a load", pieces=3, lost=1, duplicated=0, wall_s=1.5, latencies_s=[0.1, 0.2, 0.4], note="x")
    assert figures.line().split() == ["a", "load", "3", "1", "0", "1.50", "200", "400", "x"]
    assert len(figures.line()) == HEAD.index("notes") + 1
