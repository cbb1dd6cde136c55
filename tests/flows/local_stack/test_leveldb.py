"""LevelDB databases: what is written is read again, deleted entries are in no file, and damage is noticed."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flows.local_stack import leveldb
from flows.local_stack.leveldb import read_entries, write_entries
from vitau.errors import StackError

ENTRIES = st.dictionaries(
    st.binary(max_size=40), st.binary(max_size=100) | st.sampled_from([b"x" * 40_000, b"y" * 32_749]), max_size=8
)


@given(ENTRIES)
@settings(max_examples=60, deadline=None)
def test_every_entry_that_is_written_is_read_again(tmp_path_factory, entries):
    folder = tmp_path_factory.mktemp("database")
    write_entries(folder, entries)
    assert read_entries(folder) == entries


def append(folder: Path, *batches: bytes) -> None:
    log = folder / "000001.log"
    log.write_bytes(b"".join(leveldb._log([*leveldb._records(log.read_bytes()), *batches])))


def test_an_entry_that_was_overwritten_or_deleted_is_not_read_and_is_in_no_file_of_the_new_database(tmp_path):
    old, new = tmp_path / "old", tmp_path / "new"
    for folder in (old, new):
        folder.mkdir()
    write_entries(old, {b"anna": b"1", b"bert": b"2"})
    deletion = (9).to_bytes(8, "little") + (1).to_bytes(4, "little") + b"\0\4anna"
    append(old, leveldb._batch(3, [(b"bert", b"the newest")]), deletion)
    assert read_entries(old) == {b"bert": b"the newest"}
    write_entries(new, read_entries(old))
    assert read_entries(new) == {b"bert": b"the newest"}
    assert not any(b"anna" in path.read_bytes() for path in new.iterdir())
    assert {path.name: path.stat().st_mode & 0o077 for path in new.iterdir()} == dict.fromkeys(
        ("000001.log", "CURRENT", "MANIFEST-000000"), 0
    )


def test_a_record_that_was_being_written_during_a_crash_is_left_out_and_a_damaged_one_is_an_error(tmp_path):
    write_entries(tmp_path, {b"anna": b"1"})
    log = tmp_path / "000001.log"
    whole = log.read_bytes()
    append(tmp_path, leveldb._batch(2, [(b"bert", b"2" * 100)]))
    log.write_bytes(log.read_bytes()[:-50])
    assert read_entries(tmp_path) == {b"anna": b"1"}
    log.write_bytes(whole[:-1] + b"2")
    with pytest.raises(StackError, match=r"cannot be read \(ValueError\): restore it from a copy"):
        read_entries(tmp_path)


def test_a_database_without_its_manifest_or_with_another_order_of_keys_is_an_error(tmp_path):
    write_entries(tmp_path, {b"anna": b"1"})
    manifest = tmp_path / "MANIFEST-000000"
    manifest.write_bytes(b"".join(leveldb._log([b"\x01\x05other"])))
    with pytest.raises(StackError, match="cannot be read"):
        read_entries(tmp_path)
    manifest.unlink()
    with pytest.raises(StackError, match=r"cannot be read \(FileNotFoundError\)"):
        read_entries(tmp_path)
