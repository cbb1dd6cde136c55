"""The deployments of `infra/prefect.yaml` and what they stand on in Prefect: pools, queues, and automations against zombies.

Applying it again changes nothing.
"""

import os
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import yaml

from flows.settings import ROOT
from flows.zombies import make_automations
from vitau.errors import StackError

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

FILE: Final = ROOT / "infra" / "prefect.yaml"


@dataclass(frozen=True, kw_only=True, slots=True)
class Queue:
    """A work queue; of a pool's queues the one with the least priority number comes first."""

    pool: str
    name: str
    priority: int
    limit: int | None = None


QUEUES: Final = (
    Queue(pool="cpu", name="labels", priority=1, limit=1),
    Queue(pool="cpu", name="clips", priority=2),
    Queue(pool="gpu", name="retrain", priority=1, limit=1),  # never two at once
    Queue(pool="gpu", name="rescore", priority=2),
)


def deployments() -> list[dict[str, Any]]:
    """Read what is to be deployed."""
    found: list[dict[str, Any]] = yaml.safe_load(FILE.read_text(encoding="utf-8"))["deployments"]
    return found


def deploy() -> list[str]:
    """Apply pools, queues, deployments and automations to the Prefect server; returns the names of the deployments.

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
    return [each["name"] for each in deployments()]


def make_queues(client: "SyncPrefectClient") -> None:
    """Make the pools and the queues that are missing, and set the queues' priorities and limits."""
    from prefect.client.schemas.actions import WorkPoolCreate
    from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
    from prefect.workers.process import ProcessWorker

    for pool in sorted({queue.pool for queue in QUEUES}):
        template = ProcessWorker.get_default_base_job_template()
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=pool, type="process", base_job_template=template))
    for queue in QUEUES:
        try:
            known = client.read_work_queue_by_name(queue.name, work_pool_name=queue.pool)
            client.update_work_queue(known.id, priority=queue.priority, concurrency_limit=queue.limit)
        except ObjectNotFound:
            client.create_work_queue(
                queue.name, work_pool_name=queue.pool, priority=queue.priority, concurrency_limit=queue.limit
            )
