import os
import threading
from pathlib import Path

import pytest

from vitau.errors import ChecksumError, ObjectNotFoundError, StoreError
from vitau.store import FolderStore, open_store, sha256_of


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    store = open_store(tmp_path / "objects")
    assert isinstance(store, FolderStore)
    return store


def test_an_object_is_read_as_it_was_written(store, tmp_path):
    source = tmp_path / "clip.mp4"
    source.write_bytes(b"film")
    assert store.put("subjects/a/raw.mp4", source)
    assert store.get("subjects/a/raw.mp4", sha256=sha256_of(b"film")) == b"film"
    assert store.download("subjects/a/raw.mp4", tmp_path / "deep" / "copy").read_bytes() == b"film"


def test_the_first_writer_wins_and_the_second_learns_that_the_object_exists(store):
    assert store.put("k", b"first")
    assert not store.put("k", b"second")
    assert store.get("k") == b"first"


def test_exactly_one_of_eight_concurrent_writers_creates_the_object(store):
    barrier, created = threading.Barrier(8), []

    def write(number: int) -> None:
        barrier.wait()
        if store.put("race", str(number).encode() * 1000):
            created.append(number)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(created) == 1
    assert store.get("race") == str(created[0]).encode() * 1000


def test_a_prefix_is_listed_sorted_and_erased_without_its_neighbors(store):
    for key in ("s/ab/2", "s/ab/1", "s/a/1", "t"):
        store.put(key, b"")
    assert list(store.keys("s/a")) == ["s/a/1", "s/ab/1", "s/ab/2"]
    assert store.erase("s/ab/") == 2
    assert list(store.keys()) == ["s/a/1", "t"]
    assert not (store.folder / "s" / "ab").exists()


def test_a_missing_object_is_named(store):
    with pytest.raises(ObjectNotFoundError) as caught:
        store.get("nothing/here")
    assert str(caught.value) == f"no object at {store.uri}/nothing/here: it was never written, or it was erased"
    with pytest.raises(ObjectNotFoundError):
        store.download("nothing/here", store.folder / "copy")


def test_changed_bytes_are_detected(store):
    store.put("k", b"true")
    (store.folder / "k").write_bytes(b"fake")
    with pytest.raises(ChecksumError):
        store.get("k", sha256=sha256_of(b"true"))


@pytest.mark.parametrize("key", ["", "/a", "a//b", "../a", "a/../b", "a b", ".hidden", "a/"])
def test_a_key_that_is_not_a_plain_path_is_refused(store, key):
    with pytest.raises(ValueError, match="not an object key"):
        store.put(key, b"")


def test_a_failed_write_is_an_error_and_leaves_nothing(store, monkeypatch):
    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError) as caught:
        store.put("k", b"data")
    assert str(caught.value) == f"no space left to write {store.uri}/k: free some space and run it again"
    assert list(store.keys()) == []
    assert list((store.folder / ".partial").iterdir()) == []


def test_files_of_a_killed_writer_are_no_objects_and_are_deleted_after_a_day(store):
    fresh, old = store.folder / ".partial" / "fresh", store.folder / ".partial" / "old"
    for partial in (fresh, old):
        partial.write_bytes(b"half")
    os.utime(old, (0, 0))
    assert list(open_store(store.uri).keys()) == []
    assert (fresh.exists(), old.exists()) == (True, False)


def test_an_unknown_kind_of_store_is_refused():
    with pytest.raises(ValueError, match="no store at 'ftp://host/x'"):
        open_store("ftp://host/x")
