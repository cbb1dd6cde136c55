"""Apply the deployments of `infra/prefect.yaml` with their pools, queues, and the automation for orphaned runs; idempotent.

Runs send heartbeats. The webhook server sets a run without heartbeats to CRASHED, and an automation of Prefect's server
reschedules it, up to three times. On one machine no time is lost: a starting worker sets the orphaned runs of its pool to
CRASHED at once.
"""

import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final

import yaml

from flows.execution.prefect_api import open_api
from flows.settings import ROOT
from vitau.errors import StackError
from vitau.processes import PROCESS_LABEL, is_gone

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

FILE: Final = ROOT / "infra" / "prefect.yaml"

HEARTBEAT_S: Final = 30
"""Seconds between two heartbeats of a run; Prefect allows no less."""
FORMER_AUTOMATIONS: Final = ("ViTAU: a run that is silent has crashed", "ViTAU: a run that never began has crashed")
"""They counted the time in which the server was away as silence, and so crashed living runs."""
RESCHEDULES: Final = 3
"""Reschedules of a crashed run at most, because a run that kills its worker must not do so forever."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """A work queue; the queue with the lowest priority number of its pool comes first."""

    pool: str
    name: str
    priority: int
    limit: int | None = None


JOB_VARIABLES: Final = ("name", "labels", "stream_output")
"""What a deployment may choose about the process of its runs; nothing of it runs code."""

QUEUES: Final = (
    Queue(pool="cpu", name="labels", priority=1, limit=1),
    Queue(pool="cpu", name="clips", priority=2),
    Queue(pool="gpu", name="retrain", priority=1, limit=1),  # never two at once
    Queue(pool="gpu", name="rescore", priority=2),
)


def deployments() -> list[dict[str, Any]]:
    """Return the deployments in `infra/prefect.yaml`."""
    found: list[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"]
    return found


def deploy() -> list[str]:
    """Apply pools, queues, deployments and automations to the Prefect server; return the names of the deployments.

    Raises:
        StackError: Prefect refuses a deployment.
    """
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        make_queues(client)
    done = subprocess.run(
        [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all", "--prefect-file", str(FILE.relative_to(ROOT))],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise StackError(f"Prefect refuses the deployments: {' '.join(done.stderr.split()) or done.stdout[-500:]}")
    make_automations()
    return [deployment["name"] for deployment in deployments()]


def make_queues(client: "SyncPrefectClient") -> None:
    """Create missing pools and queues, and set the priorities and limits of the queues."""
    from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

    template = job_template()
    for pool in sorted({queue.pool for queue in QUEUES}):
        try:
            client.create_work_pool(WorkPoolCreate(name=pool, type="process", base_job_template=template))
        except ObjectAlreadyExists:  # it may have the template of an earlier version
            client.update_work_pool(pool, WorkPoolUpdate(base_job_template=template))
    for queue in QUEUES:
        try:
            known = client.read_work_queue_by_name(queue.name, work_pool_name=queue.pool)
            client.update_work_queue(known.id, priority=queue.priority, concurrency_limit=queue.limit)
        except ObjectNotFound:
            client.create_work_queue(
                queue.name, work_pool_name=queue.pool, priority=queue.priority, concurrency_limit=queue.limit
            )


def job_template() -> dict[str, Any]:
    """Return the template of the pools: a deployment chooses no command, environment or folder of its runs.

    Prefect's own template lets everyone who may change a deployment run any command as the worker.
    """
    from prefect.workers.process import ProcessWorker

    template = ProcessWorker.get_default_base_job_template()
    return {
        "job_configuration": {name: value for name, value in template["job_configuration"].items() if name in JOB_VARIABLES},
        "variables": {
            "type": "object",
            "additionalProperties": False,
            "properties": {name: value for name, value in template["variables"]["properties"].items() if name in JOB_VARIABLES},
        },
    }


def make_automations() -> None:
    """Create or update the automation that reschedules orphaned runs, and delete those of earlier versions."""
    from prefect.automations import Automation
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import EventTrigger, Posture

    crashed = Automation(
        name="ViTAU: a crashed run is scheduled again",
        description=f"Up to {RESCHEDULES} times; every flow continues where it was killed.",
        trigger=EventTrigger(
            posture=Posture.Reactive,
            expect={"prefect.flow-run.Crashed"},
            match={
                "prefect.resource.id": "prefect.flow-run.*",
                "prefect.run-count": [str(count) for count in range(RESCHEDULES + 1)],
            },
            match_related={"prefect.resource.role": "deployment"},  # a run by hand is up to the person who started it
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            ChangeFlowRunState(
                state="SCHEDULED", name="AwaitingRetry", message="Its worker died: waiting for another one", force=True
            )
        ],
    )
    for name in FORMER_AUTOMATIONS:
        with suppress(ValueError):  # there is none
            former = Automation.read(name=name)
            assert isinstance(former, Automation), "outside of an event loop the call is synchronous"
            former.delete()
    try:
        known = Automation.read(name=crashed.name)
        assert isinstance(known, Automation), "outside of an event loop the call is synchronous"
        crashed.id = known.id
        crashed.update()
    except ValueError:
        crashed.create()


def crash_orphaned_runs(api_url: str, pool: str, environ: Mapping[str, str] = os.environ) -> int:
    """Set the orphaned runs of a pool, whose processes on this machine are gone, to CRASHED; return their number.

    The run itself labels its process with machine and boot: the number alone may be that of a living process elsewhere.
    """
    wanted = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING"]}}}, "work_pools": {"name": {"any_": [pool]}}}
    crashed_runs = 0
    with open_api(api_url, environ) as client:
        found = client.post("/flow_runs/filter", json=wanted)
        found.raise_for_status()
        for run in found.json():
            process = str((run.get("labels") or {}).get(PROCESS_LABEL, ""))
            _, _, rest = process.partition(":")
            latest = rest.partition(":")[0] == str(run["infrastructure_pid"] or "")  # not of the attempt before
            if latest and is_gone(process):
                state = {"type": "CRASHED", "name": "Crashed", "message": "Its process is gone"}
                client.post(f"/flow_runs/{run['id']}/set_state", json={"state": state}).raise_for_status()
                crashed_runs += 1
    return crashed_runs
