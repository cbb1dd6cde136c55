import os
import stat
import tempfile
import threading
from pathlib import Path

import pytest

from vitau.errors import ChecksumError, ErasedError, ObjectNotFoundError, StoreError
from vitau.schema import tombstone
from vitau.store import Digest, FolderStore, folder, open_store, sha256_of, tombstone_key


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


def test_a_flipped_bit_is_noticed_by_every_read_without_being_told_the_digest(store, tmp_path):
    store.put("k", b"true")
    assert store.digest("k") == Digest(sha256=sha256_of(b"true"), size=4)
    (store.folder / "k").write_bytes(b"tsue")
    with pytest.raises(ChecksumError) as caught:
        store.get("k")
    assert str(caught.value) == (
        f"{store.uri}/k does not have the bytes that were written (sha256 {sha256_of(b'true')[:12]}…): restore it from a copy"
    )
    with pytest.raises(ChecksumError):
        store.download("k", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_an_object_of_an_earlier_version_has_no_digest_and_is_read(store):
    (store.folder / "old").write_bytes(b"1")
    assert store.digest("old") is None
    assert store.get("old") == b"1"
    store.put("new", b"2")
    (digest,) = [path for path in (store.folder / ".digests").rglob("*") if path.is_file()]
    digest.write_bytes(b"")  # a power failure left it empty
    assert store.get("new") == b"2"


def test_no_other_user_can_read_what_is_stored_whatever_the_umask_is(tmp_path):
    before = os.umask(0)
    try:
        store = open_store(tmp_path / "state" / "objects")
        store.put("subjects/a/clips/1/raw.mp4", b"face")
    finally:
        os.umask(before)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_file()}
    assert modes == {0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*") if path.is_dir()} == {0o700}


@pytest.mark.parametrize("key", ["subjects/anna/clips/1/raw.mp4", "scores/0f/anna/frames.parquet"])
def test_an_object_of_an_erased_person_is_not_kept_and_nothing_of_it_is_left(store, key):
    assert store.put(tombstone_key("anna"), b"")
    with pytest.raises(ErasedError) as caught:
        store.put(key, b"face")
    assert str(caught.value) == f"{tombstone('anna')} was erased, and no object of an erased person is kept"
    assert list(store.keys()) == [tombstone_key("anna")]
    assert len([path for path in (store.folder / ".digests").rglob("*") if path.is_file()]) == 1
    assert store.put(key.replace("anna", "bert"), b"face")


def test_a_writer_who_began_before_an_erasure_leaves_nothing_behind(store, monkeypatch):
    """The tombstone and the deletion come between the write and its check."""
    create = FolderStore._create

    def erased_meanwhile(self, key, data):
        created = create(self, key, data)
        if key.startswith("subjects/"):
            self.put(tombstone_key("anna"), b"")
            self.erase("subjects/anna/")
        return created

    monkeypatch.setattr(FolderStore, "_create", erased_meanwhile)
    with pytest.raises(ErasedError):
        store.put("subjects/anna/clips/1/raw.mp4", b"face")
    assert list(store.keys("subjects/")) == []


def test_erasing_beside_writers_raises_nothing_and_every_object_is_written(store):
    ended, problems = threading.Event(), []

    def erase() -> None:
        while not ended.is_set():
            try:
                store.erase("s/a/")
            except Exception as error:  # noqa: BLE001 - any error fails the test
                problems.append(error)

    def write(writer: int) -> None:
        try:
            for number in range(100):
                store.put(f"s/a/{writer}/{number}", b"1")
                store.put(f"s/b/{writer}-{number}", b"1")
        except Exception as error:  # noqa: BLE001
            problems.append(error)

    erasers = [threading.Thread(target=erase) for _ in range(2)]
    writers = [threading.Thread(target=write, args=(writer,)) for writer in range(3)]
    for thread in erasers + writers:
        thread.start()
    for thread in writers:
        thread.join()
    ended.set()
    for thread in erasers:
        thread.join()
    assert problems == []
    assert len(list(store.keys("s/b/"))) == 300
    assert store.erase("s/a/") + store.erase("s/a/") <= 300


def test_an_object_and_its_name_are_on_the_disk_when_it_is_written(store, monkeypatch):
    synced = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda fd: (synced.append(Path(f"/proc/self/fd/{fd}").readlink()), fsync(fd)))
    store.put("a/b/k", b"data")
    folders = [path for path in synced if path.is_dir()]
    assert folders[-1] == store.folder / "a" / "b"
    assert {store.folder, store.folder / "a"} <= set(folders)


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
    with pytest.raises(ValueError, match="no store at") as caught:
        open_store("ftp://host/x")
    assert str(caught.value) == "no store at 'ftp://host/x': use a folder, file:///folder or s3://bucket/prefix"
    with pytest.raises(ValueError, match="no store at 's3:///prefix'"):
        open_store("s3:///prefix")


def test_a_store_is_opened_by_its_folder_or_address(tmp_path):
    folder = tmp_path / "with space"
    for store in (open_store(folder), open_store(str(folder)), open_store(folder.as_uri())):
        assert isinstance(store, FolderStore)
        assert (store.folder, store.uri) == (folder, folder.as_uri())
    assert store.location("a/b") == f"{folder.as_uri()}/a/b"
    with pytest.raises(ValueError, match="not an object key"):
        store.location("../b")


def test_the_address_of_a_tombstone_and_the_digest_of_a_file_are_those_of_existing_stores(tmp_path):
    """Other keys would bring erased people back, other digests would refuse every object."""
    (tmp_path / "file").write_bytes(b"abc")
    abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "file") == sha256_of(b"abc") == abc
    assert tombstone_key("anna") == f"tombstones/{tombstone('anna')}"
    store = open_store(tmp_path / "objects")
    store.put("k", b"abc")
    name = "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a"
    assert (store.folder / ".digests" / name[:2] / name).read_text() == f"{abc} 3\n"


def test_a_large_file_is_copied_whole_with_its_digest_and_size(store, tmp_path):
    data = os.urandom(1000) * 2500
    (tmp_path / "film").write_bytes(data)
    assert store.put("film", tmp_path / "film")
    assert store.digest("film") == Digest(sha256=sha256_of(data), size=2_500_000)
    assert store.download("film", tmp_path / "copy") == tmp_path / "copy"
    assert (tmp_path / "copy").read_bytes() == data


def test_a_download_makes_the_folders_above_its_file(store, tmp_path):
    store.put("k", b"1")
    assert store.download("k", tmp_path / "a" / "b" / "copy").read_bytes() == b"1"


def test_every_read_verifies_the_digest_that_it_is_given(store, tmp_path):
    store.put("k", b"true")
    for read in (lambda sha: store.get("k", sha256=sha), lambda sha: store.download("k", tmp_path / "copy", sha256=sha)):
        with pytest.raises(ChecksumError) as caught:
            read("0" * 64)
        assert str(caught.value) == (
            f"{store.uri}/k does not have the bytes that were written (sha256 {'0' * 12}…): restore it from a copy"
        )
    store.download("k", tmp_path / "copy", sha256=sha256_of(b"true"))


def test_a_folder_is_no_object_and_a_missing_object_does_not_exist(store, tmp_path):
    store.put("a/b", b"1")
    assert (store.exists("a/b"), store.exists("a"), store.exists("a/c")) == (True, False, False)
    for read in (store.get, lambda key: store.download(key, tmp_path / "copy")):
        for key in ("a", "a/b/c", "a/c"):
            with pytest.raises(ObjectNotFoundError) as caught:
                read(key)
            assert str(caught.value) == f"no object at {store.uri}/{key}: it was never written, or it was erased"
    assert not (tmp_path / "copy").exists()
    for method in (store.exists, store.get):
        with pytest.raises(ValueError, match="not an object key"):
            method("../k")


def test_erasing_leaves_no_digest_and_no_empty_folder_and_keeps_the_rest(store):
    for key in ("s/a/clips/1/raw.mp4", "s/a/clips/2/raw.mp4", "s/b"):
        store.put(key, key.encode())
    assert store.purge("s/a/clips/1/") == 1
    assert store.erase("s/a/clips/9/") == 0
    assert sorted(path.name for path in (store.folder / "s").iterdir()) == ["a", "b"]
    assert [path.name for path in (store.folder / "s" / "a" / "clips").iterdir()] == ["2"]
    assert store.erase("s/a/") == 1
    assert [path.name for path in (store.folder / "s").iterdir()] == ["b"]
    assert len([path for path in (store.folder / ".digests").rglob("*") if path.is_file()]) == 1
    (store.folder / "s" / "b").unlink()
    assert store.erase("s/b") == 0
    assert [path for path in (store.folder / ".digests").rglob("*") if path.is_file()] == []


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError) as caught:
        open_store(tmp_path / "file" / "objects")
    assert str(caught.value) == f"cannot write {(tmp_path / 'file' / 'objects').as_uri()}: Not a directory"


def test_a_write_below_an_object_and_a_full_quota_are_clear_errors(store, tmp_path, monkeypatch):
    store.put("a", b"")
    with pytest.raises(StoreError) as caught:
        store.put("a/b", b"")
    assert str(caught.value) == f"cannot write {store.uri}/a/b: Not a directory"

    def over_quota(_: int) -> None:
        raise OSError(122, "Disk quota exceeded")

    monkeypatch.setattr(os, "fsync", over_quota)
    with pytest.raises(StoreError) as caught:
        store.download("a", tmp_path / "copy")
    assert str(caught.value) == f"no space left to write {tmp_path / 'copy'}: free some space and run it again"


def test_a_partial_file_that_vanishes_while_the_store_is_opened_is_no_error(store):
    (store.folder / ".partial" / "gone").symlink_to("nowhere")
    assert open_store(store.folder).put("k", b"1")


def test_unfinished_objects_lie_in_the_store_itself(store, tmp_path, monkeypatch):
    """A hard link does not reach from another disk."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    assert store.put("k", b"1")


def test_objects_whose_digests_share_a_folder_are_written(store):
    for key in ("k", "k472"):
        assert store.put(key, key.encode())
        assert store.digest(key) == Digest(sha256=sha256_of(key.encode()), size=len(key))
    assert len(list((store.folder / ".digests").iterdir())) == 1


def test_an_erasure_that_removes_the_folder_before_the_link_is_waited_out_a_hundred_times(store, monkeypatch):
    make, calls = folder.make_private_folders, []

    def removed(path: Path, *, until: int) -> None:
        calls.append(path)
        if len(calls) >= until:
            make(path)

    monkeypatch.setattr(folder, "make_private_folders", lambda path: removed(path, until=3))
    assert store.put("a/b/k", b"1")
    assert (store.get("a/b/k"), len(calls)) == (b"1", 3)
    calls.clear()
    monkeypatch.setattr(folder, "make_private_folders", lambda path: removed(path, until=1000))
    with pytest.raises(StoreError) as caught:
        store.put("c/d", b"1")
    assert str(caught.value) == f"cannot write {store.uri}/c/d: No such file or directory"
    assert len(calls) == 100


def test_an_erasure_right_after_the_link_is_no_error(store, monkeypatch):
    def removed(path: Path) -> None:
        raise FileNotFoundError(path)

    monkeypatch.setattr(folder, "sync", removed)
    assert store.put("a/k", b"1")


def test_an_erasure_goes_on_beside_another_one(store, monkeypatch):
    (store.folder / "x").mkdir()
    monkeypatch.setattr(store, "keys", lambda _: iter(["x/y/gone", "gone"]))
    assert store.erase("x/") == 2
    assert not (store.folder / "x").exists()
    assert store.folder.exists()


def test_an_erasure_that_the_disk_refuses_names_the_prefix(store, monkeypatch):
    store.put("s/a", b"1")

    def broken(self: Path, missing_ok: bool = False) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "unlink", broken)
    with pytest.raises(StoreError) as caught:
        store.erase("s/")
    assert str(caught.value) == f"cannot write {store.uri}/s/: Input/output error"
