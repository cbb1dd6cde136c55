import contextlib
import os
import stat
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from itertools import islice
from operator import neg
from pathlib import Path

import psutil
import pytest
import torch

from vitau.errors import StoreError
from vitau.processes import (
    is_gone,
    machine_identity,
    parallel_map,
    process_identity,
    read_ahead,
    single_threaded,
    temporary_folder,
)

POOL = """
    import multiprocessing, os, sys, time
    from concurrent.futures import ProcessPoolExecutor
    from vitau.processes import init_worker

    if __name__ == "__main__":
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=init_worker) as pool:
            print(pool.submit(os.getpid).result(), flush=True)
            time.sleep(60)
"""

FORKED_BY_A_SERVER = """
    import os, time
    from vitau.preloading import start_preloading
    from vitau.processes import parallel_map

    def pid(_):
        return os.getpid()

    if __name__ == "__main__":
        start_preloading([])
        pids = parallel_map(pid, range(9), 2)
        print(next(pids), flush=True)
        time.sleep(60)
"""

STARTS_LATE = """
    import multiprocessing, os, time
    from vitau.processes import init_worker

    def start_without_a_parent():
        while os.getppid() == multiprocessing.parent_process().pid:
            time.sleep(0.05)
        init_worker()
        time.sleep(60)

    if __name__ == "__main__":
        worker = multiprocessing.get_context("spawn").Process(target=start_without_a_parent)
        worker.start()
        print(worker.pid, flush=True)
        time.sleep(60)
"""

BLOCKS = """
    import resource, sys
    from vitau.processes import keep_freed_memory

    def hold_and_free():
        blocks = [b"x" * (8 << 20) for _ in range(4)]

    if sys.argv[1] == "kept":
        keep_freed_memory()
    hold_and_free()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        hold_and_free()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def record(items, into):
    for item in items:
        into.append(item)
        yield item


def test_one_process_takes_an_item_when_the_one_before_is_done():
    taken = []
    results = parallel_map(neg, record(range(5), taken), 1)
    assert next(results) == 0
    assert taken == [0]


def test_two_processes_take_one_item_ahead_and_yield_results_in_order():
    taken = []
    results = parallel_map(neg, record(range(7), taken), 2)
    assert next(results) == 0
    assert taken == [0, 1, 2]
    assert list(results) == [-1, -2, -3, -4, -5, -6]


def test_this_process_takes_a_share_and_a_long_item_stops_neither_it_nor_the_others():
    finished = []

    def here(number):
        finished.append(number)
        return -number, os.getpid()

    results = parallel_map(_long_at_first, range(12), 2, here=here)
    waited = list(results)
    assert [value for value, _ in waited] == [-number for number in range(12)]
    others = {pid for _, pid in waited} - {os.getpid()}
    assert (len(others), len({os.getpid(), *others})) == (1, 2)
    assert len(finished) >= 9, "the other process still had its first item, and one ahead"


def test_this_process_alone_calls_its_own_function():
    assert list(parallel_map(neg, range(3), 1, here=abs)) == [0, 1, 2]


def _long_at_first(number):
    time.sleep(1)
    return -number, os.getpid()


def test_kept_memory_is_reused_without_page_faults():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", textwrap.dedent(BLOCKS), how], capture_output=True, check=True).stdout)
        for how in ("kept", "returned")
    }
    assert faults["returned"] > 10_000
    assert faults["kept"] < 100


@pytest.mark.parametrize(
    "code", [POOL, FORKED_BY_A_SERVER, STARTS_LATE], ids=["working", "forked by a server", "before it started"]
)
def test_a_worker_exits_when_its_parent_is_killed(code, tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(textwrap.dedent(code))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    deadline = time.monotonic() + 20
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE


def test_a_sum_in_one_thread_does_not_depend_on_the_number_of_threads_before():
    numbers = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0))
    before, sums = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4, 7):
            torch.set_num_threads(threads)
            with single_threaded():
                assert torch.get_num_threads() == 1
                sums.append(float(numbers.sum()))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(set(sums)) == 1


WATCHING = "import sys, time; from vitau import processes; processes.exit_with_{}(); print(1, flush=True); time.sleep(60)"


def test_a_process_exits_when_the_other_end_of_its_stdin_is_closed():
    with subprocess.Popen(
        [sys.executable, "-c", WATCHING.format("parent")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        assert process.returncode is None, "it exited while the other end was open"
        process.stdin.close()
        assert process.wait(10) == 1


def test_a_process_exits_when_its_output_has_no_reader():
    with subprocess.Popen([sys.executable, "-c", WATCHING.format("reader")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        assert process.returncode is None, "it exited while it had a reader"
        process.stdout.close()
        assert process.wait(10) == 1


def test_a_process_that_writes_into_a_file_is_not_watched(tmp_path):
    with (tmp_path / "output").open("wb") as output:
        code = WATCHING.format("reader").replace("60", "1")
        assert subprocess.run([sys.executable, "-c", code], stdout=output, check=False).returncode == 0


HOLDING = """
    import sys, time
    from pathlib import Path
    from vitau.processes import temporary_folder

    with temporary_folder(Path(sys.argv[1])) as folder:
        (folder / "raw.mp4").write_bytes(b"a face")
        print(folder, flush=True)
        time.sleep(60)
"""


def test_the_temporary_folder_of_a_killed_process_is_removed_and_that_of_a_living_one_is_kept(tmp_path):
    parent = tmp_path / "work" / "tmp"
    processes = [
        subprocess.Popen([sys.executable, "-c", textwrap.dedent(HOLDING), parent], stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    folders = [Path(process.stdout.readline().strip()) for process in processes]
    for folder in folders:
        os.utime(folder, (0, 0))
    processes[0].kill()
    processes[0].wait()
    with temporary_folder(parent) as own:
        assert sorted(parent.iterdir()) == sorted([folders[1], own])
        assert [stat.S_IMODE(folder.stat().st_mode) for folder in (parent, own)] == [0o700, 0o700]
    processes[1].kill()
    for process in processes:
        process.communicate()
    assert list(parent.iterdir()) == [folders[1]]


def test_a_temporary_folder_that_cannot_be_created_is_one_sentence(tmp_path):
    (tmp_path / "work").write_text("a file")
    sentence = r"^no temporary folder can be created \(Not a directory\); check VITAU_WORK$"
    with pytest.raises(StoreError, match=sentence), temporary_folder(tmp_path / "work" / "tmp"):
        pass


class _Threaded:
    isolated = True

    def __call__(self, number):
        return number, os.getpid()


def test_work_that_isolates_itself_is_called_by_threads_of_this_process():
    assert list(parallel_map(_Threaded(), range(5), 2)) == [(number, os.getpid()) for number in range(5)]


def test_a_process_is_gone_when_it_ended_on_this_machine_and_never_by_its_number_alone():
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        identity = process_identity(process.pid)
        assert identity is not None
        machine, pid, start = identity.split(":")
        assert (machine, pid) == (machine_identity(), str(process.pid))
        assert not is_gone(identity)
        assert is_gone(f"{machine}:{pid}:{int(start) + 1}"), "the number was given to another process"
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # ended, and not reaped
        assert is_gone(identity)
    assert is_gone(identity)
    assert not is_gone(f"another-machine:{pid}:{start}")
    assert not is_gone("anna's worker")


def _numbers(made: list[int], stop: int) -> Iterator[int]:
    for number in range(stop):
        made.append(number)
        yield number


def _num_threads() -> int:
    return sum(thread.name.startswith("read-ahead") for thread in threading.enumerate())


@pytest.mark.parametrize("depth", [1, 4])
def test_items_come_in_their_order_and_only_a_few_are_prepared_ahead(depth: int) -> None:
    made: list[int] = []
    items = read_ahead(_numbers(made, 50), depth)
    assert made == []
    for number, item in enumerate(items):
        assert item == number
        assert len(made) <= number + 1 + depth
    assert len(made) == 50
    assert _num_threads() == 0


def test_an_item_is_prepared_while_the_one_before_it_is_in_use() -> None:
    prepared = threading.Event()

    def items() -> Iterator[int]:
        yield 0
        prepared.set()
        yield 1

    assert next(read_ahead(items())) == 0
    assert prepared.wait(5)


def test_an_error_is_raised_in_place_of_its_item() -> None:
    def items() -> Iterator[int]:
        yield 0
        raise ValueError("no second item")

    given = read_ahead(items())
    assert next(given) == 0
    with pytest.raises(ValueError, match="no second item"):
        next(given)
    assert _num_threads() == 0


def test_the_thread_ends_when_its_reader_stops_early() -> None:
    made: list[int] = []
    items = read_ahead(_numbers(made, 1_000_000))
    assert list(islice(items, 3)) == [0, 1, 2]
    items.close()
    assert _num_threads() == 0
    assert len(made) < 10
