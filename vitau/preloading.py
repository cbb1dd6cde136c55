"""Early start of worker processes: a server imports their modules while the command imports its own, and forks them later.

A spawned process imports torch and the rest for seconds after the command has done so, and each process does it again. A server
that has only imported modules is safe to fork: it has used no thread of torch or OpenCV.
"""

import atexit
import os
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing import forkserver, get_context
from pathlib import Path
from typing import Final

PRELOAD: Final = "VITAU_PRELOAD"
"""The variable that names the modules to the server."""
_started: Final[list[int]] = []
"""The number of the process that started the server."""


def start_preloading(modules: Sequence[str]) -> None:
    """Start a server that imports modules, in the background; later process pools fork it instead of spawning processes.

    Call it from the main thread, before the imports of the command itself. The server ends with this process.
    A second call does nothing.

    Args:
        modules: names of modules. One that cannot be imported is left out: the worker reports it.
    """
    if is_preloading():
        return
    get_context("forkserver").set_forkserver_preload(["vitau.preloaded"])
    path = os.pathsep.join(str(Path(entry).resolve()) for entry in sys.path)  # "" is the working directory
    with _variables({PRELOAD: ",".join(modules), "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}):
        forkserver.ensure_running()
    _started[:] = [os.getpid()]
    atexit.register(_stop_server)


def is_preloading() -> bool:
    """Return whether this process started the server."""
    return _started == [os.getpid()]


def _stop_server() -> None:
    """Stop the server, which has nothing to do any more, and wait: then its processor time, and that of workers, is known."""
    pid = getattr(forkserver._forkserver, "_forkserver_pid", None)  # noqa: SLF001 - no public function names it
    if pid is not None and is_preloading():
        _started.clear()
        with suppress(ProcessLookupError, ChildProcessError):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


@contextmanager
def _variables(added: dict[str, str]) -> Iterator[None]:
    """Add variables to the environment inside the block; the server starts with them."""
    before = {name: os.environ.get(name) for name in added}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
