import json
import socket
import stat
import subprocess
import sys
import time
from dataclasses import replace

import psutil
import pytest

from flows.local_stack import services, stack
from flows.local_stack.state import read_secrets
from vitau.errors import StackError
from vitau.processes import process_identity


@pytest.fixture
def pretend():
    """Records a process of this test as if it were a service."""
    processes = []

    def start(state, code: str) -> stack.Service:
        process = subprocess.Popen([sys.executable, "-c", code], start_new_session=True)
        processes.append(process)
        service = stack.Service(
            name="mlflow",
            url="http://127.0.0.1:9",
            health="http://127.0.0.1:9/health",
            pid=process.pid,
            identity=process_identity(process.pid) or "",
        )
        stack.record_services(state, [service])
        return service

    yield start
    for process in processes:
        process.kill()
        process.wait()


def test_a_taken_port_is_one_sentence(tmp_path):
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
    monkeypatch.setattr(services, "ROOT", tmp_path)
    with pytest.raises(StackError, match=r"label-studio is not installed .* run `make setup`"):
        stack.start(tmp_path / "state")


def test_a_step_of_the_clock_does_not_make_a_living_service_dead(tmp_path, pretend, monkeypatch):
    service = pretend(tmp_path, "import time; time.sleep(60)")
    started = psutil.Process(service.pid).create_time()
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: started + 2)  # the kernel computes it from the clock
    assert stack.running(tmp_path) == [service]
    reused = replace(service, identity=f"{service.identity}0")
    assert stack.process_of(reused) is None
    of_earlier_version = replace(service, identity="", started=started + 2)
    assert stack.process_of(of_earlier_version) is not None


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
    entry[0]["identity"] += "0"  # it started at another time
    (tmp_path / "services.json").write_text(json.dumps(entry))
    assert stack.running(tmp_path) == []


def test_a_service_that_crashes_while_starting_names_its_log(tmp_path, pretend):
    service = pretend(tmp_path, "raise SystemExit(3)")
    with pytest.raises(StackError, match=r"mlflow stopped while starting: read .*logs/mlflow\.log"):
        stack.wait([service], tmp_path, timeout_s=20)


def test_waiting_for_a_service_that_never_answers_ends_with_a_timeout(tmp_path, pretend):
    service = pretend(tmp_path, "import time; time.sleep(60)")
    with pytest.raises(StackError, match="mlflow did not answer within 0 s"):
        stack.wait([service], tmp_path, timeout_s=0)
    stack.stop(tmp_path)


def test_secrets_are_made_once_and_only_the_owner_can_read_them(tmp_path):
    first = stack.log_ins(tmp_path)
    assert stack.log_ins(tmp_path) == first
    assert stat.S_IMODE((tmp_path / "secrets.json").stat().st_mode) == 0o600
    (tmp_path / "other").mkdir()
    assert stack.log_ins(tmp_path / "other") != first


def test_a_folder_keeps_its_profile(tmp_path):
    assert stack.profile_of(tmp_path) is None
    (tmp_path / "catalog.db").touch()  # older than the profiles
    assert stack.profile_of(tmp_path) is stack.Profile.EMBEDDED
    with pytest.raises(StackError) as caught:
        stack.start(tmp_path, profile=stack.Profile.FULL)
    assert str(caught.value) == (
        f"{tmp_path} was made with profile embedded and cannot become full: choose another folder with STATE=…"
    )


def test_a_gpu_worker_has_one_gpu_and_one_run_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr(services, "gpu_workers", lambda: ("worker-gpu-0", "worker-gpu-1"))
    urls = {name: services.address(name, 1 + number) for number, name in enumerate(services.names(stack.Profile.FULL))}
    worker = services.program("worker-gpu-1", tmp_path, stack.Profile.FULL, urls)
    assert worker.environment["CUDA_VISIBLE_DEVICES"] == "1"
    assert worker.command[worker.command.index("--limit") + 1] == "1"
    assert worker.command[worker.command.index("--pool") + 1] == "gpu"
    assert set(worker.after) <= set(urls)


def test_a_new_secret_is_added_to_an_old_state_and_the_others_stay(tmp_path):
    (tmp_path / "secrets.json").write_text(json.dumps({"pseudonym_key": "the first one, which stays"}))
    kept = read_secrets(tmp_path)
    assert kept["pseudonym_key"] == "the first one, which stays"
    assert len(kept["webhook_secret"]) >= 16
    assert read_secrets(tmp_path) == kept


@pytest.mark.parametrize("name", ["EMPTY_DATABASE", "EMPTY_PREFECT"])
def test_a_new_state_starts_with_a_copy_of_the_empty_database_and_an_old_one_keeps_its_own(tmp_path, monkeypatch, name):
    empty, state, url = tmp_path / "made" / getattr(services, name).name, tmp_path / "state", "http://127.0.0.1:1"
    monkeypatch.setattr(services, name, empty)
    state.mkdir()
    program = (
        services.label_studio(state, url) if name == "EMPTY_DATABASE" else services.prefect(state, {"prefect": url}, full=False)
    )
    own = state / program.name / empty.name
    program.prepare()
    assert not own.exists(), "there is nothing to copy, so the service makes its own"
    empty.parent.mkdir()
    empty.write_bytes(b"empty")
    program.prepare()
    assert [path.name for path in own.parent.iterdir()] == [own.name]
    own.write_bytes(b"answers")
    program.prepare()
    assert own.read_bytes() == b"answers"
