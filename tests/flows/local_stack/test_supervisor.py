import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence

import psutil
import pytest

from flows.local_stack import stack, supervisor
from flows.local_stack.state import Program, free_ports
from vitau.errors import StackError

SERVE = "from http.server import *\nThreadingHTTPServer(('127.0.0.1', {}), SimpleHTTPRequestHandler).serve_forever()"


@pytest.fixture
def served(tmp_path) -> Iterator[Callable[..., supervisor.ManagedService]]:
    """Lays out small web servers as services, and stops what is left of them."""
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
    for each in made:
        if each.service.pid:
            stack.signal_group(each.service, signal.SIGKILL)
        if each.process is not None:
            each.process.wait()


def look_until(done: Callable[[], bool], kept: Sequence[supervisor.ManagedService], state) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline
        for each in kept:
            supervisor.look_after(each, kept, state)
        time.sleep(0.05)


def test_a_service_starts_when_those_before_it_answer_and_all_are_written_down(served, tmp_path):
    last, first = served("last", after=["first"]), served("first")
    kept = [last, first]
    supervisor.look_after(last, kept, tmp_path)
    assert last.process is None
    look_until(lambda: last.answered, kept, tmp_path)
    assert last.service.started >= first.service.started
    assert [(each.name, each.pid) for each in stack.written(tmp_path)] == [
        ("last", last.service.pid),
        ("first", first.service.pid),
    ]


def test_a_service_that_is_killed_comes_back_at_the_same_address(served, tmp_path):
    service = served("mlflow")
    look_until(lambda: service.answered, [service], tmp_path)
    killed, url = service.service.pid, service.service.url
    os.kill(killed, signal.SIGKILL)
    look_until(lambda: service.answered and service.service.pid != killed, [service], tmp_path)
    assert stack.written(tmp_path)[0].url == url
    assert service.service.deaths == 0, "it answered since"


def test_one_that_dies_again_and_again_waits_longer_each_time_and_is_given_up_by_who_waits_for_it(
    served, tmp_path, monkeypatch
):
    service = served("mlflow", code="raise SystemExit(3)")
    paused = []
    for _ in range(3):
        look_until(lambda: service.process is not None and service.process.poll() is not None, [service], tmp_path)
        supervisor.look_after(service, [service], tmp_path)
        paused.append(service.not_before - time.monotonic())
        service.not_before = 0
    assert paused == [pytest.approx(each, abs=0.5) for each in (1, 2, 4)]
    monkeypatch.setattr(stack, "supervised", lambda _: True)
    with pytest.raises(StackError, match=r"mlflow stopped while starting: read .*mlflow\.log"):
        stack.wait(stack.written(tmp_path), tmp_path, timeout_s=30)


def test_what_cannot_be_prepared_is_said_in_the_log_and_tried_again(served, tmp_path):
    tries = []

    def prepare() -> None:
        tries.append(len(tries))
        if len(tries) == 1:
            raise StackError("no bucket")

    service = served("mlflow", prepare=prepare)
    look_until(lambda: service.answered, [service], tmp_path)
    assert tries == [0, 1]
    assert "Error: no bucket" in stack.log_of(tmp_path, "mlflow").read_text()


def test_services_are_stopped_before_those_that_they_stand_on(served, tmp_path):
    ends = tmp_path / "ends"
    code = (
        "import http.server, pathlib, signal, sys, time\n"
        f"def end(*_):\n  time.sleep(0.2)\n  f = open({str(ends)!r}, 'a'); f.write('NAME '); f.close(); sys.exit()\n"
        "signal.signal(signal.SIGTERM, end)\n"
        "http.server.HTTPServer(('127.0.0.1', {}), http.server.SimpleHTTPRequestHandler).serve_forever()"
    )
    kept = [
        served("store", code=code.replace("NAME", "store")),
        served("server", code=code.replace("NAME", "server"), after=["store"]),
        served("worker", code=code.replace("NAME", "worker"), after=["server"]),
    ]
    look_until(lambda: kept[-1].answered, kept, tmp_path)
    supervisor.stop(kept)
    assert ends.read_text().split() == ["worker", "server", "store"]


def test_another_supervisor_takes_over_what_a_killed_one_left(served, tmp_path, monkeypatch):
    first = served("mlflow")
    look_until(lambda: first.answered, [first], tmp_path)
    monkeypatch.setattr(supervisor.programs, "program", lambda *_: first.program)
    over = threading.Event()
    thread = threading.Thread(target=supervisor.keep, args=(tmp_path, over))
    thread.start()
    time.sleep(1)
    assert stack.written(tmp_path)[0].pid == first.service.pid, "it was started a second time"
    over.set()
    thread.join(30)
    with contextlib.suppress(subprocess.TimeoutExpired):
        first.process.wait(5)
    assert not psutil.pid_exists(first.service.pid)
