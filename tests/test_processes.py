import subprocess
import sys
import textwrap
import time

import psutil

POOL = """
    import multiprocessing, os, sys, time
    from concurrent.futures import ProcessPoolExecutor
    from vitau.processes import start_worker

    if __name__ == "__main__":
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=start_worker) as pool:
            print(pool.submit(os.getpid).result(), flush=True)
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


def test_memory_that_is_freed_and_kept_is_used_again_without_a_page_fault():
    faults = {
        how: int(subprocess.run([sys.executable, "-c", textwrap.dedent(BLOCKS), how], capture_output=True, check=True).stdout)
        for how in ("kept", "given back")
    }
    assert faults["given back"] > 10_000
    assert faults["kept"] < 100


def test_a_worker_leaves_when_its_parent_is_killed(tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(textwrap.dedent(POOL))
    with subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = psutil.Process(int(parent.stdout.readline()))
        parent.kill()
    deadline = time.monotonic() + 20
    while worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE
