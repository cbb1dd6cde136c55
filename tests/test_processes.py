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
