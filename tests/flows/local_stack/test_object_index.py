"""The rewrite of SeaweedFS' index: interrupted, refused, or failed, it loses nothing. `test_access.py` cleans a real one."""

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from flows.erasure.volumes import FAILURE, REQUEST, clean_volumes
from flows.local_stack import object_index
from flows.local_stack.leveldb import read_entries, write_entries
from flows.local_stack.object_index import clean_if_requested, finish_exchange, read_listing, rewrite_index
from vitau.errors import StackError
from vitau.store import FolderStore


def field(number: int, content: bytes) -> bytes:
    return bytes([number << 3 | 2, len(content)]) + content


def listed(folder: str, name: str, *, is_folder: bool = False) -> bytes:
    """Return a name as `fs.meta.save` writes it; the entry has attributes too."""
    entry = field(1, name.encode()) + (b"\x10\x01" if is_folder else b"") + field(4, b"\x08\x05")
    message = field(1, folder.encode()) + field(2, entry)
    return len(message).to_bytes(4, "big") + message


def key(path: str) -> bytes:
    folder, _, name = path.rpartition("/")
    return hashlib.md5((folder or "/").encode(), usedforsecurity=False).digest() + name.encode()


PATHS = {"/buckets": True, "/buckets/vitau": True, "/buckets/vitau/anna": True, "/buckets/vitau/anna/a.mp4": False}
EMPTY = {"/buckets/vitau/bert": True, "/buckets/vitau/bert/clips": True, "/buckets/mlflow": True}


def names(paths: dict[str, bool]) -> bytes:
    root = field(1, b"/") + field(2, field(4, b"\x08\x05"))
    parts = [(path.rpartition("/"), is_folder) for path, is_folder in paths.items()]
    return (
        len(root).to_bytes(4, "big")
        + root
        + b"".join(listed(folder or "/", name, is_folder=is_folder) for (folder, _, name), is_folder in parts)
    )


@pytest.fixture
def index(tmp_path: Path) -> Path:
    """An index of two databases."""
    folder = tmp_path / "data" / object_index.INDEX
    entries = {key(path): path.encode() for path in PATHS | EMPTY} | {b"filer.store.id": b"7"}
    for number, name in enumerate(("00", "01")):
        (folder / name).mkdir(parents=True)
        write_entries(folder / name, {own: value for own, value in entries.items() if own[0] % 2 == number})
    (tmp_path / "names").write_bytes(names(PATHS | EMPTY))
    return folder


def entries_of(index: Path) -> dict[bytes, bytes]:
    return {own: value for folder in index.iterdir() for own, value in read_entries(folder).items()}


def test_names_and_empty_folders_in_buckets_are_read_from_the_list_of_seaweedfs():
    every, empty = read_listing(names(PATHS | EMPTY))
    assert every == {key(path) for path in PATHS | EMPTY}
    assert empty == {key("/buckets/vitau/bert"), key("/buckets/vitau/bert/clips")}, "a bucket stays"


def test_the_new_index_has_every_entry_but_the_empty_folders(index, tmp_path):
    rewrite_index(index, tmp_path / "names")
    assert set(entries_of(index).values()) == {*(path.encode() for path in PATHS), b"/buckets/mlflow", b"7"}
    assert [path.name for path in index.parent.iterdir()] == [object_index.INDEX]
    assert not any(b"bert" in path.read_bytes() for path in index.rglob("*") if path.is_file())


def test_nothing_is_exchanged_if_seaweedfs_lists_a_name_that_was_not_found(index, tmp_path):
    before = entries_of(index)
    (tmp_path / "names").write_bytes(names(PATHS | EMPTY | {"/buckets/vitau/carl": True}))
    with pytest.raises(StackError, match="SeaweedFS lists names that are not in the files of its index"):
        rewrite_index(index, tmp_path / "names")
    assert entries_of(index) == before


def test_an_interrupted_exchange_is_finished_or_undone(index):
    before = entries_of(index)
    new, old = index.with_name("filerldb2.new"), index.with_name("filerldb2.old")
    (new / "00").mkdir(parents=True)
    finish_exchange(index)
    assert (entries_of(index), new.exists()) == (before, False), "the new one may be incomplete"
    index.rename(old)
    old.rename(new)
    (old / "00").mkdir(parents=True)
    finish_exchange(index)
    assert (entries_of(index), new.exists(), old.exists()) == (before, False, False), "killed between the two renames"


def test_after_a_failure_the_index_is_as_before_and_the_reason_is_kept(index, tmp_path, monkeypatch):
    before = entries_of(index)
    ports = dict.fromkeys(("master", "volume", "filer", "master grpc", "volume grpc", "filer grpc"), 1)
    clean_if_requested(tmp_path, ports)
    assert not (tmp_path / FAILURE).exists(), "nothing is requested"
    (tmp_path / REQUEST).touch()
    monkeypatch.setattr(object_index, "WEED", Path("/bin/false"))
    clean_if_requested(tmp_path, ports)
    assert (tmp_path / FAILURE).read_text() == "SeaweedFS does not start without S3: read its log"
    assert not (tmp_path / REQUEST).exists(), "SeaweedFS must start all the same"
    assert entries_of(index) == before


def test_an_erasure_waits_for_the_cleaning_and_reports_its_failure(tmp_path, monkeypatch):
    (tmp_path / "seaweedfs").mkdir()
    store, slept = FolderStore(tmp_path / "store"), []

    def supervise(_: float) -> None:
        slept.append(1)
        if len(slept) == 3:
            (tmp_path / "seaweedfs" / FAILURE).write_text("the disk is full")
            (tmp_path / "seaweedfs" / REQUEST).unlink()

    monkeypatch.setattr("flows.erasure.volumes.time.sleep", supervise)
    with pytest.raises(StackError, match=r"still keeps names of deleted objects \(the disk is full\)"):
        clean_volumes(tmp_path, store)
    assert len(slept) == 3
    with pytest.raises(StackError, match="because nothing restarts it: run `python -m flows down` and `up`"):
        clean_volumes(tmp_path, store, timeout_s=0)
    assert (tmp_path / "seaweedfs" / REQUEST).exists(), "for the next start"


def test_an_administrator_rewrites_the_index_of_another_seaweedfs_by_a_command(index, tmp_path):
    command = [sys.executable, "-m", "flows.local_stack.object_index", index]
    refused = subprocess.run([*command, tmp_path / "none"], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stderr.splitlines()[-1][:6]) == (1, "Error:")
    done = subprocess.run([*command, tmp_path / "names"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert b"/buckets/vitau/bert" not in entries_of(index).values()
