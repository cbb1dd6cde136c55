"""Commands of the chaos runs, as forks of one process that has imported everything: most of the time of a run is imports.

The process reads requests from stdin, forks, and writes process numbers and exit codes to stdout, each a line of JSON. A fork
runs the command as ``python -m flows`` does, in a process group of its own.
"""

import importlib
import json
import os
import resource
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from flows.settings import ROOT

MODULES: Final = (
    *(f"flows.{name}" for name in ("ingest", "annotate", "freeze", "retrain", "promote", "rescore", "monitor", "erase")),
    *("flows.cli.app", "flows.promotion.evaluation", "validation.run", "vitau.registry.registry", "vitau.scoring.predict"),
)
POLL_S: Final = 0.05


class Process:
    """A command that was started; its process group has its number."""

    def __init__(self, pid: int, poll: Callable[[float], int | None]) -> None:
        self.pid, self._poll = pid, poll

    def poll(self) -> int | None:
        """Return the exit code, ``None`` while it runs; a signal that killed it counts as negative."""
        return self._poll(0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs after ``timeout`` seconds.
        """
        began = time.monotonic()
        while (code := self._poll(POLL_S)) is None:
            if timeout is not None and time.monotonic() > began + timeout:
                raise subprocess.TimeoutExpired("flows", timeout)
        return code


class Launcher:
    """The process that forks. Its environment has what Prefect reads when it is imported."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        self._codes: dict[int, int] = {}
        with log.open("wb") as errors:
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.launcher"],
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,  # what is buffered here, select does not see
            )

    def start(
        self, arguments: Sequence[str], environment: Mapping[str, str], log: Path, file_bytes: int | None = None
    ) -> Process:
        """Start a command of ``python -m flows``; no file that it writes may be longer than ``file_bytes``."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        log.touch()
        request = {"arguments": list(arguments), "environment": dict(environment), "log": str(log), "file_bytes": file_bytes}
        self._server.stdin.write(json.dumps(request).encode() + b"\n")
        self._server.stdin.flush()
        while (message := json.loads(self._server.stdout.readline()))["kind"] != "started":
            self._codes[message["pid"]] = message["code"]
        return Process(message["pid"], lambda timeout_s: self._code_of(message["pid"], timeout_s))

    def stop(self) -> None:
        """End the process and close its pipes."""
        with self._server:
            self._server.kill()

    def _code_of(self, pid: int, timeout_s: float) -> int | None:
        stdout = self._server.stdout
        assert stdout
        while pid not in self._codes and select.select([stdout], [], [], timeout_s)[0]:
            message = json.loads(stdout.readline())
            self._codes[message["pid"]] = message["code"]
        return self._codes.get(pid)


def serve() -> Sequence[str] | None:
    """Fork for every request; return the arguments in the fork, and ``None`` when the requests end."""
    for name in MODULES:
        importlib.import_module(name)
    reading, running = b"", set[int]()
    while True:
        if select.select([0], [], [], POLL_S)[0]:
            data = os.read(0, 1 << 16)
            if not data:
                return None
            *requests, reading = (reading + data).split(b"\n")
            for line in requests:
                pid = os.fork()
                if not pid:
                    return _become(json.loads(line))
                running.add(pid)
                _tell({"kind": "started", "pid": pid})
        for pid in tuple(running):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                running.remove(pid)
                _tell({"kind": "ended", "pid": pid, "code": os.waitstatus_to_exitcode(status)})


def _tell(message: Mapping[str, Any]) -> None:
    os.write(1, json.dumps(message).encode() + b"\n")


def _become(request: Mapping[str, Any]) -> Sequence[str]:
    """Make this fork the process of a command."""
    os.setsid()
    log = os.open(request["log"], os.O_WRONLY | os.O_APPEND)
    for number, file in ((0, os.open(os.devnull, os.O_RDONLY)), (1, log), (2, log)):
        os.dup2(file, number)
    os.environ.clear()
    os.environ.update(request["environment"])
    if request["file_bytes"] is not None:
        limit_files(request["file_bytes"])
    if "LD_PRELOAD" in os.environ:  # a library is loaded at the start of a program only
        os.execv(sys.executable, [sys.executable, "-m", "flows", *request["arguments"]])  # noqa: S606 - no shell is meant
    return list(request["arguments"])


def limit_files(size: int) -> None:
    """Make every write beyond a size fail in this process, as on a full disk."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


if __name__ == "__main__":
    command = serve()
    if command is not None:
        sys.argv = ["flows", *command]
        from flows.cli.app import app

        app(prog_name="python -m flows")
