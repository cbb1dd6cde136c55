import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from vitau.errors import StoreError
from vitau.store.atomic import atomic_path, make_private_folders, remove_partials, write_atomic


def test_text_keeps_its_line_ends_and_no_temporary_file_is_left(tmp_path):
    path = tmp_path / "rows.csv"
    write_atomic(path, "a,é\r\n1,2\n")
    assert path.read_bytes() == "a,é\r\n1,2\n".encode()
    write_atomic(path, b"\x00\r\n")
    assert path.read_bytes() == b"\x00\r\n"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_has_its_permissions_before_its_first_byte(tmp_path):
    path = tmp_path / "secrets.json"
    write_atomic(path, "{}", mode=0o600)
    assert path.stat().st_mode & 0o777 == 0o600
    write_atomic(tmp_path / "rows.csv", "")
    assert (tmp_path / "rows.csv").stat().st_mode & 0o777 == 0o600
    write_atomic(tmp_path / "page.html", "", mode=0o644)
    assert (tmp_path / "page.html").stat().st_mode & 0o777 == 0o644


def test_no_other_user_can_read_a_file_while_it_is_written(tmp_path, monkeypatch):
    write, modes = Path.write_bytes, []
    monkeypatch.setattr(Path, "write_bytes", lambda self, data: (modes.append(self.stat().st_mode & 0o777), write(self, data)))
    before = os.umask(0)
    try:
        write_atomic(tmp_path / "page.html", "a face", mode=0o644)
    finally:
        os.umask(before)
    assert modes == [0o600]


def test_a_file_and_a_folder_are_for_their_owner_only_whatever_the_umask_is(tmp_path):
    before = os.umask(0)
    try:
        with atomic_path(tmp_path / "model.bin") as partial:
            partial.write_text("weights")
        with atomic_path(tmp_path / "crops") as partial:
            partial.mkdir()
        make_private_folders(tmp_path / "a" / "b")
    finally:
        os.umask(before)
    modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.rglob("*")}
    assert modes == {"model.bin": 0o600, "crops": 0o700, "a": 0o700, "b": 0o700}


def test_content_is_on_the_disk_before_the_rename_and_the_name_afterwards(tmp_path, monkeypatch):
    order, rename = [], Path.replace
    monkeypatch.setattr("os.fsync", lambda descriptor: order.append(Path(f"/proc/self/fd/{descriptor}").readlink().suffix))
    monkeypatch.setattr(Path, "replace", lambda self, target: (order.append("rename"), rename(self, target)))
    write_atomic(tmp_path / "rows.csv", "1")
    assert order == [".csv", "rename", tmp_path.suffix]


def test_a_missing_folder_is_an_error(tmp_path):
    path = tmp_path / "missing" / "file"
    with pytest.raises(StoreError) as caught:
        write_atomic(path, "")
    assert str(caught.value) == f"{path} cannot be written: No such file or directory; give another place"


def write_and_fail(path, *, folder):
    with atomic_path(path) as partial:
        if folder:
            partial.mkdir()
            (partial / "file").write_text("new")
        else:
            partial.write_text("new")
        raise ZeroDivisionError


@pytest.mark.parametrize("folder", [False, True])
def test_a_failure_keeps_the_old_content_and_leaves_no_temporary_file(tmp_path, folder):
    path = tmp_path / "model.bin"
    path.write_text("old")
    with pytest.raises(ZeroDivisionError):
        write_and_fail(path, folder=folder)
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "old"


def test_a_folder_appears_complete_and_does_not_replace_one_with_content(tmp_path):
    path = tmp_path / "crops"
    with atomic_path(path) as partial:
        partial.mkdir()
        (partial / "first").write_text("")
        assert not path.exists()
    with pytest.raises(OSError, match="not empty"), atomic_path(path) as partial:
        partial.mkdir()
    assert [file.name for file in path.iterdir()] == ["first"]
    assert list(tmp_path.iterdir()) == [path]


def test_concurrent_writers_have_their_own_temporary_files_and_the_last_rename_wins(tmp_path):
    path = tmp_path / "page.html"
    with atomic_path(path) as slow:
        slow.write_text("slow")
        write_atomic(path, "fast")
        assert path.read_text() == "fast"
        assert slow.suffix == ".html"
    assert path.read_text() == "slow"


def test_temporary_files_of_a_killed_writer_are_removed_by_name(tmp_path):
    program = """
        import os, signal, sys
        from pathlib import Path
        from vitau.store.atomic import atomic_path
        with atomic_path(Path(sys.argv[1])) as partial:
            partial.write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    """
    for name in ("one.mp4", "two.mp4"):
        done = subprocess.run([sys.executable, "-c", textwrap.dedent(program), tmp_path / name], check=False)
        assert done.returncode == -signal.SIGKILL
    (tmp_path / "kept.partial.mp4").write_text("")
    assert len(list(tmp_path.iterdir())) == 3
    remove_partials(tmp_path, "one")
    assert sorted(path.name.split(".")[:2] for path in tmp_path.iterdir()) == [["", "two"], ["kept", "partial"]]
    remove_partials(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["kept.partial.mp4"]


def test_a_folder_that_another_writer_made_meanwhile_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setattr(Path, "exists", lambda _: False)
    make_private_folders(tmp_path / "a")
    make_private_folders(tmp_path / "a")
    assert (tmp_path / "a").is_dir()


def test_a_temporary_folder_that_cannot_be_removed_does_not_hide_the_failure(tmp_path, monkeypatch):
    def refused(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "rmdir", refused)
    with pytest.raises(ZeroDivisionError):
        write_and_fail(tmp_path / "model", folder=True)
