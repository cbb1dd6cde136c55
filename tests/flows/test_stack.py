import json
import socket
import stat
import subprocess
import sys
import time

import psutil
import pytest

from flows import programs, stack
from vitau.errors import StackError


@pytest.fixture
def pretend():
    """Write down a process of our own as if it were a service."""
    processes = []

    def start(state, code: str) -> stack.Service:
        process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        processes.append(process)
        service = stack.Service(
            name="mlflow",
            url="http://127.0.0.1:9",
            health="http://127.0.0.1:9/health",
            pid=process.pid,
            started=psutil.Process(process.pid).create_time(),
        )
        stack.remember(state, [service])
        return service

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_a_port_that_is_taken_is_one_sentence(tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(StackError) as caught:
            stack.start(tmp_path / "state", {"label-studio": port})
    assert str(caught.value) == (
        f"port {port} for label-studio is taken: stop what uses it, or leave the port out and a free one is chosen"
    )
    assert stack.running(tmp_path / "state") == []


def test_a_missing_program_is_one_sentence(tmp_path, monkeypatch):
    monkeypatch.setattr(programs, "ROOT", tmp_path)
    with pytest.raises(StackError, match=r"label-studio is not installed .* run `make setup`"):
        stack.start(tmp_path / "state")


def test_a_service_is_found_again_and_stopped_with_its_children(tmp_path, pretend):
    child = (
        "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"
    )
    service = pretend(tmp_path, child)
    assert stack.running(tmp_path) == [service]
    parent = psutil.Process(service.pid)
    deadline = time.monotonic() + 10
    while not parent.children() and time.monotonic() < deadline:
        time.sleep(0.05)
    family = [parent, *parent.children()]
    assert len(family) == 2
    assert stack.stop(tmp_path) == ["mlflow"]
    _, alive = psutil.wait_procs(family, timeout=10)
    assert [process for process in alive if process.status() != psutil.STATUS_ZOMBIE] == []
    assert stack.running(tmp_path) == []


def test_another_process_with_the_same_pid_is_not_the_service(tmp_path, pretend):
    pretend(tmp_path, "import time; time.sleep(60)")
    entry = json.loads((tmp_path / "services.json").read_text())
    entry[0]["started"] -= 1000
    (tmp_path / "services.json").write_text(json.dumps(entry))
    assert stack.running(tmp_path) == []


def test_a_service_that_dies_while_starting_names_its_log(tmp_path, pretend):
    service = pretend(tmp_path, "raise SystemExit(3)")
    with pytest.raises(StackError, match=r"mlflow stopped while starting: read .*logs/mlflow\.log"):
        stack.wait([service], tmp_path, timeout_s=20)


def test_a_service_that_never_answers_is_given_up(tmp_path, pretend):
    service = pretend(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(StackError, match="mlflow did not answer within 0 s"):
        stack.wait([service], tmp_path, timeout_s=0)
    stack.stop(tmp_path)


def test_secrets_are_drawn_once_and_only_the_owner_reads_them(tmp_path):
    first = stack.log_in(tmp_path)
    assert stack.log_in(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    (tmp_path / "other").mkdir()
    assert stack.log_in(tmp_path / "other") != first
