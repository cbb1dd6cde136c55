"""Faults: what disturbs the first run of a flow."""

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from enum import StrEnum
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from tests.chaos.launcher import Process

FULL_DISK_BYTES: Final = 20_000
CLOCK_LIBRARY: Final = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")
"""Debian's package faketime; the clock fault is left out without it."""


class Backend(StrEnum):
    """The place of a pair's copy: SQLite and a folder, SQLite and S3, or PostgreSQL and a folder."""

    FOLDER = "folder"
    S3 = "s3"
    POSTGRESQL = "postgresql"


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A disturbance of a running flow.

    ``after`` is the share of the undisturbed work at which ``strike`` is called with the running process. ``file_bytes`` is the
    longest file that it can write; ``environment`` is added to its variables; ``during`` surrounds the whole run; ``twice``
    starts a second run beside it.
    """

    name: str
    after: float = 0.5
    strike: Callable[[Process], None] | None = None
    file_bytes: int | None = None
    environment: dict[str, str] | None = None
    during: Callable[[], AbstractContextManager[None]] = nullcontext
    twice: bool = False
    backend: Backend = Backend.FOLDER


def kill(process: Process) -> None:
    """Kill a run and all its children."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def kill_at(share: float) -> Fault:
    """Return the fault that kills a run after a share of its duration."""
    return Fault(name=f"SIGKILL at {share:.0%}", after=share, strike=kill)


def restart_service(name: str, pid_of: Callable[[str], int]) -> Fault:
    """Return the fault that kills a service in mid-run; its supervisor starts it again."""

    def strike(_: Process) -> None:
        os.kill(pid_of(name), signal.SIGKILL)

    return Fault(name=f"{name} restarted", strike=strike)


FULL_DISK: Final = Fault(name="no space for files", file_bytes=FULL_DISK_BYTES)
TWO_RUNS: Final = Fault(name="two runs at once", twice=True)


def clock_steps() -> list[Fault]:
    """Return the fault of a clock that is an hour ahead for the first run, if the library for it is installed."""
    if not CLOCK_LIBRARY.exists() and shutil.which("faketime") is None:
        return []
    variables = {"LD_PRELOAD": str(CLOCK_LIBRARY), "FAKETIME": "+1h", "FAKETIME_DONT_FAKE_MONOTONIC": "1"}
    return [Fault(name="clock +1 h, then back", environment=variables, after=0.6, strike=kill)]


def disturbed_s3(mode: str, setting: list[str]) -> Fault:
    """Return the fault of an S3 server that is disturbed for the first run; ``setting`` is what its proxy reads."""

    @contextmanager
    def during() -> Iterator[None]:
        setting[0] = mode
        try:
            yield
        finally:
            setting[0] = ""

    return Fault(name=f"S3 {mode}", during=during, backend=Backend.S3)


@contextmanager
def s3_proxy(upstream: str, mode: Callable[[], str]) -> Iterator[str]:
    """Serve an address in front of an S3 server that disturbs requests; yield it.

    Args:
        upstream: the address of the real server.
        mode: returns ``slow``, ``cut``, ``503``, ``409`` or an empty text for each request.
    """
    host = urlsplit(upstream)
    counts = {"requests": 0}

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Stay quiet."""

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            counts["requests"] += 1
            fault = mode() if counts["requests"] % 3 == 0 else ""
            if fault == "slow":
                time.sleep(0.5)
            elif fault == "cut":
                self.close_connection = True
                return
            elif fault == "503" or (fault == "409" and self.command == "PUT"):
                status, code = (503, "SlowDown") if fault == "503" else (409, "ConditionalRequestConflict")
                self._reply(status, {"Content-Type": "application/xml"}, f"<Error><Code>{code}</Code></Error>".encode())
                return
            connection = HTTPConnection(host.hostname or "", host.port or 80, timeout=30)
            headers = {name: value for name, value in self.headers.items() if name.lower() != "connection"}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            data = answer.read()
            kept = {
                n: v for n, v in answer.getheaders() if n.lower() not in {"transfer-encoding", "connection", "content-length"}
            }
            if self.command == "HEAD":
                kept["Content-Length"] = answer.getheader("Content-Length") or "0"
            self._reply(answer.status, kept, data)
            connection.close()

        def _reply(self, status: int, headers: dict[str, str], data: bytes) -> None:
            self.send_response_only(status)
            for name, value in ({"Content-Length": str(len(data))} | headers).items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(data)

        do_GET = do_PUT = do_HEAD = do_DELETE = do_POST = _serve

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
