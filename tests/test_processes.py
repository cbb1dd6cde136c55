import contextlib
import subprocess
import sys
import textwrap
import time
from operator import neg

import psutil
import pytest
import torch

from vitau.processes import parallel_map, single_threaded

POOL = """
    import multiprocessing, os, sys, time
    from concurrent.futures import ProcessPoolExecutor
    from vitau.processes import init_worker

    if __name__ == "__main__":
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=init_worker) as pool:
            print(pool.submit(os.getpid).result(), flush=True)
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
    assert taken == [0, 1, 2, 3]
    assert list(results) == [-1, -2, -3, -4, -5, -6]


def test_kept_memory_is_reused_without_page_faults():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", textwrap.dedent(BLOCKS), how], capture_output=True, check=True).stdout)
        for how in ("kept", "returned")
    }
    assert faults["returned"] > 10_000
    assert faults["kept"] < 100


@pytest.mark.parametrize("code", [POOL, STARTS_LATE], ids=["working", "before it started"])
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
