"""The folder of a cross-validation beside killed and living processes, which are real."""

import fcntl
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from flows.crossvalidation.folder import fold_lock, only_run

WRITER = """
    import sys
    from pathlib import Path
    from flows.crossvalidation.folder import fold_lock, only_run
    from vitau.store.atomic import atomic_path
    out, name, lock = sys.argv[1:]
    place = {"run": only_run, "worker": lambda out: fold_lock(out / "folds")}[lock](Path(out))
    with place, atomic_path(Path(out) / name) as partial:
        partial.write_text("half")
        print("half", flush=True)
        sys.stdin.read()
        partial.write_text("whole")
"""


@pytest.fixture
def out(tmp_path):
    with only_run(tmp_path / "out"):
        pass
    return tmp_path / "out"


@contextmanager
def writing(out, name, lock) -> Iterator[subprocess.Popen[str]]:
    """Start a process that writes half of a file, and completes it when its stdin is closed."""
    arguments = [sys.executable, "-c", textwrap.dedent(WRITER), str(out), name, lock]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "half\n"
        yield process


def test_partial_files_of_killed_processes_are_removed_by_the_next_run(out):
    (out / ".notes.of-mine.partial.csv").write_text("the user's own")
    for name, lock in (("folds/lopo-palsy-0-001-0123456789abcdef.parquet", "worker"), ("table.csv", "run")):
        with writing(out, name, lock) as process:
            process.kill()
        assert process.returncode == -signal.SIGKILL
        kept = out / name
        kept.with_name(f"kept-{kept.name}").write_text("whole")
        assert len(list(kept.parent.glob(f".{kept.stem}.*.partial{kept.suffix}"))) == 1
    with only_run(out):
        names = sorted(path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file())
    kept = ["folds/kept-lopo-palsy-0-001-0123456789abcdef.parquet", "kept-table.csv"]
    assert names == [".notes.of-mine.partial.csv", *kept]


@pytest.mark.parametrize(("name", "lock"), [("folds/one.parquet", "worker"), ("table.csv", "run")])
def test_a_run_waits_for_a_living_writer_and_keeps_its_file(out, name, lock, capfd):
    entered = threading.Event()

    def enter() -> None:
        with only_run(out):
            entered.set()

    with writing(out, name, lock) as process:
        thread = threading.Thread(target=enter)
        thread.start()
        assert not entered.wait(1.2)
        process.communicate()
        thread.join(30)
    assert entered.is_set()
    assert process.returncode == 0
    assert (out / name).read_text() == "whole"
    assert capfd.readouterr().err == "waiting for another cross-validation that writes to the same folder\n"


def test_workers_of_one_run_write_at_the_same_time(out):
    with only_run(out), fold_lock(out / "folds"), fold_lock(out / "folds"):
        pass


def test_a_file_system_without_locks_keeps_partial_files_and_runs(out, monkeypatch):
    def refused(*_: object) -> None:
        raise OSError(9, "Bad file descriptor")

    partial = out / "folds" / ".one.0123456789ab.partial.parquet"
    partial.write_text("of a process that may live")
    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", refused)
        with only_run(out), fold_lock(out / "folds"):
            assert partial.exists()
    with only_run(out):
        assert not partial.exists()
