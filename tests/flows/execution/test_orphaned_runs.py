import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from flows.deploy import FORMER_AUTOMATIONS, make_automations
from flows.execution.orphaned_runs import BEGINNING_S, SILENCE_S, Sight, Watch, sight_of, watch_runs
from flows.local_stack.services import EMPTY_PREFECT, copy_empty_database
from flows.local_stack.stack import certificates
from vitau.processes import PROCESS_LABEL, process_identity

SILENT = {"run": Sight(mark="a state, 7 heartbeats", limit_s=SILENCE_S)}


def ended_process() -> str:
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    identity = process_identity(process.pid)
    process.communicate()
    assert identity is not None
    return identity


def run_of(process: str = "", state: str = "RUNNING") -> dict[str, object]:
    return {
        "state_id": "s",
        "state_type": state,
        "labels": {PROCESS_LABEL: process},
        "infrastructure_pid": "".join(process.split(":")[1:2]) or None,
    }


def test_a_run_that_is_silent_while_the_server_is_up_has_crashed_and_not_earlier():
    watch = Watch()
    times = range(0, int(SILENCE_S), 5)
    assert [watch.overdue(now, SILENT) for now in times] == [[]] * len(times)
    assert watch.overdue(SILENCE_S, SILENT) == ["run"]


def test_after_an_absence_of_the_server_the_silence_begins_anew():
    watch = Watch()
    for now in range(0, 85, 5):
        assert watch.overdue(now, SILENT) == []
    back = 80 + 100
    for now in range(back, back + int(SILENCE_S), 5):
        assert watch.overdue(now, SILENT) == [], "the absence counts as silence"
    assert watch.overdue(back + SILENCE_S, SILENT) == ["run"]


def test_a_heartbeat_ends_the_silence():
    watch = Watch()
    for now in range(0, 600, 5):
        beating = {"run": Sight(mark=f"a state, {now // 30} heartbeats", limit_s=SILENCE_S)}
        assert watch.overdue(now, beating) == []


def test_the_limit_of_a_run_follows_from_its_process_its_state_and_its_heartbeats():
    alive, gone = process_identity() or "", ended_process()
    assert sight_of(run_of(alive), 7).limit_s is None, "it lives on this machine"
    assert sight_of(run_of(alive, "PENDING"), 0).limit_s is None
    assert sight_of(run_of(gone), 7).limit_s == 10, "its worker has time to report it"
    assert sight_of({**run_of(gone), "infrastructure_pid": "1"}, 7).limit_s == SILENCE_S, "the process of the attempt before"
    assert sight_of(run_of("elsewhere:1:1"), 7).limit_s == SILENCE_S
    assert sight_of(run_of(), 0).limit_s is None, "it was started by hand, and sends no heartbeats"
    assert sight_of(run_of(state="PENDING"), 0).limit_s == BEGINNING_S
    assert sight_of(run_of(), 7).mark != sight_of(run_of(), 8).mark


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A Prefect server on loopback, and the address of its API."""
    home: Path = tmp_path_factory.mktemp("prefect")
    copy_empty_database(EMPTY_PREFECT, home)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    own |= {"PREFECT_HOME": str(home), "PREFECT_SERVER_ANALYTICS_ENABLED": "false", "DO_NOT_TRACK": "1"}
    with (home / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", port],
            env=own,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        url = f"http://127.0.0.1:{port}/api"
        eventually(lambda: answers(url), 120)
        yield process, url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2, verify=certificates()).status_code == 200
    except httpx.HTTPError:
        return False


def eventually(check: Callable[[], bool], within_s: float) -> None:
    until = time.monotonic() + within_s
    while not check():
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.2)


def create(client: httpx.Client, path: str, body: dict[str, Any]) -> str:
    """Create something and return its id; in its first seconds a busy server may answer with an error."""
    replies: list[httpx.Response] = []

    def created() -> bool:
        replies.append(client.post(path, json=body))
        return replies[-1].is_success

    eventually(created, 60)
    return str(replies[-1].json()["id"])


def test_a_living_run_survives_an_absence_of_a_real_server_and_crashes_when_it_falls_silent(server):
    process, url = server
    with httpx.Client(base_url=url, timeout=20) as client:
        flow = create(client, "/flows/", {"name": "long"})
        run = create(client, "/flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}})
        stopping, silent, told = threading.Event(), threading.Event(), []

        def beat() -> None:
            while not silent.wait(1):
                occurred = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
                resource = {"prefect.resource.id": f"prefect.flow-run.{run}"}
                event = {"occurred": occurred, "event": "prefect.flow-run.heartbeat", "resource": resource, "id": str(uuid4())}
                with suppress(httpx.HTTPError):  # the server that was stopped closes idle connections
                    httpx.post(f"{url}/events", json=[event], timeout=20)

        timing = {"silence_s": 12, "look_s": 0.5, "gap_s": 4}
        threads = [
            threading.Thread(target=beat),
            threading.Thread(target=watch_runs, args=(url, {}, stopping, told.append), kwargs=timing),
        ]
        for thread in threads:
            thread.start()
        try:
            time.sleep(8)  # the server stores heartbeats in batches
            os.killpg(process.pid, signal.SIGSTOP)
            time.sleep(14)  # longer than the silence
            os.killpg(process.pid, signal.SIGCONT)
            time.sleep(3)
            assert httpx.get(f"{url}/flow_runs/{run}", timeout=20).json()["state_type"] == "RUNNING"
            silent.set()
            eventually(lambda: httpx.get(f"{url}/flow_runs/{run}", timeout=20).json()["state_type"] == "CRASHED", 60)
        finally:
            silent.set()
            stopping.set()
            for thread in threads:
                thread.join()
    assert told == [f"run {run} has crashed: no sign of life"]


def test_the_automations_of_earlier_versions_are_deleted_and_one_stays(server):
    from prefect.settings import PREFECT_API_URL, temporary_settings

    _, url = server
    with httpx.Client(base_url=url, timeout=20) as client, temporary_settings({PREFECT_API_URL: url}):
        trigger = {
            "type": "event",
            "posture": "Proactive",
            "threshold": 1,
            "within": 90,
            "expect": ["prefect.flow-run.heartbeat"],
        }
        for name in FORMER_AUTOMATIONS:
            body = {"name": name, "trigger": trigger, "actions": [{"type": "cancel-flow-run"}]}
            client.post("/automations/", json=body).raise_for_status()
        for _ in range(2):
            make_automations()
            left = [automation["name"] for automation in client.post("/automations/filter", json={}).json()]
            assert left == ["ViTAU: a crashed run is scheduled again"]
