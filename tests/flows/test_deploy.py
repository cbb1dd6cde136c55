import importlib
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from prefect.utilities.templating import apply_values

from flows.deploy import QUEUES, crash_orphaned_runs, deployments, job_template
from flows.settings import ROOT
from vitau.processes import PROCESS_LABEL, process_identity

DEPLOYMENTS = deployments()
DAYS = ("Sundays", "Mondays", "Tuesdays", "Wednesdays", "Thursdays", "Fridays", "Saturdays")


def flow_of(deployment: dict[str, Any]) -> Any:
    """Load a deployment's flow as a worker does: by module."""
    module, _, name = deployment["entrypoint"].rpartition(".")
    return getattr(importlib.import_module(module), name)


def in_words(deployment: dict[str, Any]) -> str:
    """Return a schedule in the words of the operators' page."""
    if not deployment["schedules"]:
        return "by hand"
    (schedule,) = deployment["schedules"]
    assert schedule["timezone"] == "UTC"
    minute, hour, *any_date, weekday = schedule["cron"].split()
    assert any_date == ["*", "*"]
    if hour == "*":
        assert weekday == "*"
        return "every hour" if minute == "0" else f"every {minute.removeprefix('*/')} minutes"
    return f"{'daily' if weekday == '*' else DAYS[int(weekday)]} {int(hour):02}:{int(minute):02} UTC"


def parameters(deployment: dict[str, Any]) -> str:
    """Return the parameters of a flow in the words of the operators' page."""
    schema = flow_of(deployment).parameters
    required = set(schema.required)
    return ", ".join(f"`{name}`" + ("" if name in required else " (optional)") for name in schema.properties) or "none"


def test_the_page_for_operators_has_every_deployment_with_its_schedule_queue_and_parameters():
    page = (ROOT / "docs" / "operators.md").read_text()
    section = page.split("\n## Deployments\n")[1].split("\n## ")[0]
    table = re.findall(r"^\| `([a-z-]+)` \| (.+?) \| (.+?) \| `(\w+)` / `(\w+)` \| .+ \|$", section, re.MULTILINE)
    assert table == [
        (
            *(deployment["name"], in_words(deployment), parameters(deployment)),
            *(deployment["work_pool"]["name"], deployment["work_pool"]["work_queue_name"]),
        )
        for deployment in DEPLOYMENTS
    ]


@pytest.mark.parametrize("deployment", DEPLOYMENTS, ids=lambda deployment: deployment["name"])
def test_an_entrypoint_is_a_flow_with_a_time_limit_that_accepts_the_parameters_of_its_deployment(deployment):
    flow = flow_of(deployment)
    assert flow.timeout_seconds is not None
    assert flow.timeout_seconds >= 3600
    assert set(deployment.get("parameters", {})) <= set(flow.parameters.properties)
    assert flow.retries == 0, "a request to a service is retried, or the whole run by its schedule"


def test_every_deployment_goes_to_a_queue_that_has_its_priority_and_every_queue_is_used():
    used = {(deployment["work_pool"]["name"], deployment["work_pool"]["work_queue_name"]) for deployment in DEPLOYMENTS}
    assert used == {(queue.pool, queue.name) for queue in QUEUES}


def test_no_two_retrainings_run_at_once_and_they_come_before_scoring():
    retrain, rescore = (next(queue for queue in QUEUES if queue.name == name) for name in ("retrain", "rescore"))
    assert (retrain.pool, retrain.limit) == (rescore.pool, 1)
    assert retrain.priority < rescore.priority


def test_a_deployment_chooses_neither_the_command_nor_the_environment_nor_the_folder_of_its_runs():
    template = job_template()
    wanted = {"command": "touch taken", "env": {"PATH": "."}, "working_dir": ".", "name": "tonight"}
    assert set(template["variables"]["properties"]) == {"name", "labels", "stream_output"}
    assert template["variables"]["additionalProperties"] is False, "the server refuses the others"
    made = apply_values(template["job_configuration"], wanted, remove_notset=True)  # what a worker would make of them
    assert made == {"name": "tonight"}


def test_only_runs_whose_process_ended_on_this_machine_and_boot_are_crashed():
    ended = subprocess.Popen([sys.executable, "-c", ""])
    identity = process_identity(ended.pid)
    ended.wait()
    pid = str(ended.pid)
    runs = [
        {"id": "gone", "infrastructure_pid": pid, "labels": {PROCESS_LABEL: identity}},
        {"id": "alive", "infrastructure_pid": str(os.getpid()), "labels": {PROCESS_LABEL: process_identity()}},
        {"id": "of-another-machine", "infrastructure_pid": pid, "labels": {PROCESS_LABEL: f"elsewhere:{pid}:1"}},
        {"id": "without-a-label", "infrastructure_pid": pid, "labels": {}},
        {"id": "restarted", "infrastructure_pid": "1", "labels": {PROCESS_LABEL: identity}},
    ]
    crashed = []

    class Server(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"] or 0))
            if self.path.endswith("/set_state"):
                crashed.append(self.path.split("/")[-2])
            body = json.dumps(runs).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            assert crash_orphaned_runs(f"http://127.0.0.1:{server.server_port}/api", "gpu", {}) == 1
        finally:
            server.shutdown()
            thread.join()
    assert crashed == ["gone"]
