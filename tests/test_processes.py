import contextlib
import subprocess
import sys
import textwrap
import time
from operator import neg

import psutil
import pytest
import torch

from vitau.processes import one_thread, side_by_side

POOL = """
    import multiprocessing, os, sys, time
    from concurrent.futures import ProcessPoolExecutor
    from vitau.processes import start_worker

    if __name__ == "__main__":
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=start_worker) as pool:
            print(pool.submit(os.getpid).result(), flush=True)
            time.sleep(60)
"""

BEGINS_LATE = """
    import multiprocessing, os, time
    from vitau.processes import start_worker

    def begin_without_a_parent():
        while os.getppid() == multiprocessing.parent_process().pid:
            time.sleep(0.05)
        start_worker()
        time.sleep(60)

    if __name__ == "__main__":
        worker = multiprocessing.get_context("spawn").Process(target=begin_without_a_parent)
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


def asked(items, into):
    for item in items:
        into.append(item)
        yield item


def test_one_process_asks_for_an_item_when_the_one_before_is_done():
    taken = []
    results = side_by_side(neg, asked(range(5), taken), 1)
    assert next(results) == 0
    assert taken == [0]


def test_two_processes_take_one_item_ahead_and_answer_in_order():
    taken = []
    results = side_by_side(neg, asked(range(7), taken), 2)
    assert next(results) == 0
    assert taken == [0, 1, 2, 3]
    assert list(results) == [-1, -2, -3, -4, -5, -6]


def test_memory_that_is_freed_and_kept_is_used_again_without_a_page_fault():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", textwrap.dedent(BLOCKS), how], capture_output=True, check=True).stdout)
        for how in ("kept", "given back")
    }
    assert faults["given back"] > 10_000
    assert faults["kept"] < 100


@pytest.mark.parametrize("code", [POOL, BEGINS_LATE], ids=["at work", "before it began"])
def test_a_worker_leaves_when_its_parent_is_killed(code, tmp_path):
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


def test_a_sum_in_one_thread_is_the_same_however_many_threads_there_were():
    numbers = torch.randn(1 << 20, generator=torch.Generator().manual_seed(0))
    before, sums = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 4, 7):
            torch.set_num_threads(threads)
            with one_thread():
                assert torch.get_num_threads() == 1
                sums.append(float(numbers.sum()))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert len(set(sums)) == 1


STARTED = "import sys, time; from vitau import processes; processes.leave_with_{}(); print(1, flush=True); time.sleep(60)"


def test_a_process_leaves_when_the_other_end_of_its_stdin_is_gone():
    with subprocess.Popen(
        [sys.executable, "-c", STARTED.format("starter")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        assert process.returncode is None, "it left while somebody held it"
        process.stdin.close()
        assert process.wait(10) == 1


def test_a_process_leaves_when_nobody_reads_what_it_says():
    with subprocess.Popen([sys.executable, "-c", STARTED.format("listener")], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(1)
        assert process.returncode is None, "it left while somebody listened"
        process.stdout.close()
        assert process.wait(10) == 1


def test_a_process_that_writes_into_a_file_listens_to_nobody(tmp_path):
    with (tmp_path / "said").open("wb") as said:
        code = STARTED.format("listener").replace("60", "1")
        assert subprocess.run([sys.executable, "-c", code], stdout=said, check=False).returncode == 0
