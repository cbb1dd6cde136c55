import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import psutil
import pytest

from flows.local_stack import stack, supervisor
from flows.local_stack.state import Program, free_ports
from vitau.errors import StackError

SERVE = "from http.server import *\nThreadingHTTPServer(('127.0.0.1', {}), SimpleHTTPRequestHandler).serve_forever()"


@pytest.fixture
def served(tmp_path) -> Iterator[Callable[..., supervisor.ManagedService]]:
    """Makes small web servers managed services, and stops those that still run at the end."""
    made: list[supervisor.ManagedService] = []

    def make(name: str, *, code: str = SERVE, after: Sequence[str] = (), prepare=None) -> supervisor.ManagedService:
        (port,) = free_ports(1)
        program = Program(
            name=name,
            command=[sys.executable, "-c", code.format(port)],
            health=f"http://127.0.0.1:{port}",
            after=after,
            prepare=prepare,
        )
        service = stack.Service(name=name, url=f"http://127.0.0.1:{port}", health=program.health, pid=0, started=0)
        made.append(supervisor.ManagedService(program=program, service=service))
        return made[-1]

    yield make
    for service in made:
        if service.service.pid:
            stack.signal_group(service.service, signal.SIGKILL)
        if service.process is not None:
            service.process.wait()


def check_until(done: Callable[[], bool], managed: Sequence[supervisor.ManagedService], state) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        for service in managed:
            supervisor.check_service(service, managed, state)
        time.sleep(0.05)


def test_a_service_starts_when_its_dependencies_answer_and_all_are_recorded(served, tmp_path):
    last, first = served("last", after=["first"]), served("first")
    managed = [last, first]
    supervisor.check_service(last, managed, tmp_path)
    assert last.process is None
    check_until(lambda: last.ready, managed, tmp_path)
    starts = [int(service.service.identity.rpartition(":")[2]) for service in managed]
    assert starts[0] >= starts[1]
    assert [(service.name, service.pid) for service in stack.recorded_services(tmp_path)] == [
        ("last", last.service.pid),
        ("first", first.service.pid),
    ]


def test_a_killed_service_is_restarted_at_the_same_address(served, tmp_path):
    service = served("mlflow")
    check_until(lambda: service.ready, [service], tmp_path)
    killed, url = service.service.pid, service.service.url
    os.kill(killed, signal.SIGKILL)
    check_until(lambda: service.ready and service.service.pid != killed, [service], tmp_path)
    assert stack.recorded_services(tmp_path)[0].url == url
    assert service.service.deaths == 0, "the count starts again with an answer"


def test_a_service_that_asks_for_a_restart_is_stopped_and_prepared_again_at_once_and_that_is_no_crash(served, tmp_path):
    request, prepared = tmp_path / "request", []

    def prepare() -> None:
        prepared.append(request.exists())
        request.unlink(missing_ok=True)

    service = served("seaweedfs", prepare=prepare)
    service.program = replace(service.program, restart=request.exists)
    other = served("other", after=["seaweedfs"])
    check_until(lambda: other.ready, [service, other], tmp_path)
    first, beside = service.service.pid, other.service.pid
    request.touch()
    check_until(lambda: service.ready and service.service.pid != first, [service, other], tmp_path)
    assert prepared == [False, True]
    assert (service.service.deaths, service.not_before) == (0, 0.0)
    assert not psutil.pid_exists(first)
    assert other.service.pid == beside, "what depends on it goes on"


def test_a_service_that_crashes_repeatedly_is_restarted_with_exponential_backoff_and_wait_gives_up(
    served, tmp_path, monkeypatch
):
    service = served("mlflow", code="raise SystemExit(3)")
    paused = []
    for _ in range(3):
        check_until(lambda: service.process is not None and service.process.poll() is not None, [service], tmp_path)
        supervisor.check_service(service, [service], tmp_path)
        paused.append(service.not_before - time.monotonic())
        service.not_before = 0
    assert paused == [pytest.approx(seconds, abs=0.5) for seconds in (1, 2, 4)]
    monkeypatch.setattr(stack, "is_supervised", lambda _: True)
    with pytest.raises(StackError, match=r"mlflow stopped while starting: read .*mlflow\.log"):
        stack.wait(stack.recorded_services(tmp_path), tmp_path, timeout_s=30)


def test_a_failed_preparation_is_logged_and_retried(served, tmp_path):
    tries = []

    def prepare() -> None:
        tries.append(len(tries))
        if len(tries) == 1:
            raise StackError("no bucket")

    service = served("mlflow", prepare=prepare)
    check_until(lambda: service.ready, [service], tmp_path)
    assert tries == [0, 1]
    assert "Error: no bucket" in stack.log_path(tmp_path, "mlflow").read_text()


def test_services_are_stopped_in_reverse_dependency_order(served, tmp_path):
    ends = tmp_path / "ends"
    code = (
        "import http.server, pathlib, signal, sys, time\n"
        f"def end(*_):\n  time.sleep(0.2)\n  f = open({str(ends)!r}, 'a'); f.write('NAME '); f.close(); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "http.server.HTTPServer(('127.0.0.1', {}), http.server.SimpleHTTPRequestHandler).serve_forever()"
    )
    managed = [
        served("store", code=code.replace("NAME", "store")),
        served("server", code=code.replace("NAME", "server"), after=["store"]),
        served("worker", code=code.replace("NAME", "worker"), after=["server"]),
    ]
    check_until(lambda: managed[-1].ready, managed, tmp_path)
    supervisor.stop_services(managed)
    assert ends.read_text().split() == ["worker", "server", "store"]


def test_another_supervisor_takes_over_the_services_of_a_killed_one(served, tmp_path, monkeypatch):
    first = served("mlflow")
    check_until(lambda: first.ready, [first], tmp_path)
    monkeypatch.setattr(supervisor.definitions, "program", lambda *_: first.program)
    stopping = threading.Event()
    thread = threading.Thread(target=supervisor.supervise, args=(tmp_path, stopping))
    thread.start()
    time.sleep(1)
    assert stack.recorded_services(tmp_path)[0].pid == first.service.pid, "it was started a second time"
    stopping.set()
    thread.join(30)
    with contextlib.suppress(subprocess.TimeoutExpired):
        first.process.wait(5)
    assert not psutil.pid_exists(first.service.pid)
