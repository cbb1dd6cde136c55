"""Runs whose worker was killed: found by their silence, called crashed, and scheduled again on whatever worker is free.

A run sends heartbeats; an automation of Prefect's server calls one that is silent crashed, and another one schedules it again,
up to three times. Where workers and runs share a machine nobody needs to wait: a worker that starts looks for what is gone.
"""

from datetime import timedelta
from typing import Final

import httpx
import psutil

HEARTBEAT_S: Final = 30
"""How often a run says that it lives, and Prefect's least."""
SILENCE_S: Final = 90
"""How long a run may be silent."""
BEGINNING_S: Final = 600
"""How long a run may take from a worker's hands to its first line."""
RESCHEDULES: Final = 3
"""How often a crashed run is scheduled again: what kills its worker each time must not do so for ever."""


def make_automations() -> None:
    """Make or renew the automations that bring back what was killed."""
    from prefect.automations import Automation
    from prefect.events.actions import ChangeFlowRunState
    from prefect.events.schemas.automations import EventTrigger, Posture

    ended = {f"prefect.flow-run.{state}" for state in ("Completed", "Failed", "Cancelled", "Crashed")}
    silent = Automation(
        name="ViTAU: a run that is silent has crashed",
        description="The worker of such a run was killed, or its machine is gone.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={"prefect.flow-run.heartbeat"},
            expect={"prefect.flow-run.heartbeat", *ended},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(seconds=SILENCE_S),
        ),
        actions=[ChangeFlowRunState(state="CRASHED", name="Crashed", message=f"No sign of life for {SILENCE_S} s")],
    )
    stuck = Automation(
        name="ViTAU: a run that never began has crashed",
        description="Its worker was killed before the first heartbeat, and the run holds a place in its queue.",
        trigger=EventTrigger(
            posture=Posture.Proactive,
            after={"prefect.flow-run.Pending"},
            expect={"prefect.flow-run.Running", *ended},
            match={"prefect.resource.id": "prefect.flow-run.*"},
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(seconds=BEGINNING_S),
        ),
        actions=[ChangeFlowRunState(state="CRASHED", name="Crashed", message=f"It did not begin within {BEGINNING_S} s")],
    )
    crashed = Automation(
        name="ViTAU: a crashed run is scheduled again",
        description=f"Up to {RESCHEDULES} times; every flow takes up where it was killed.",
        trigger=EventTrigger(
            posture=Posture.Reactive,
            expect={"prefect.flow-run.Crashed"},
            match={
                "prefect.resource.id": "prefect.flow-run.*",
                "prefect.run-count": [str(count) for count in range(RESCHEDULES + 1)],
            },
            match_related={"prefect.resource.role": "deployment"},  # what somebody ran by hand is theirs
            for_each={"prefect.resource.id"},
            threshold=1,
            within=timedelta(0),
        ),
        actions=[
            ChangeFlowRunState(state="SCHEDULED", name="AwaitingRetry", message="Its worker died: on to the next", force=True)
        ],
    )
    for automation in (silent, stuck, crashed):
        try:
            known = Automation.read(name=automation.name)
            assert isinstance(known, Automation), "outside of an event loop it is read at once"
            automation.id = known.id
            automation.update()
        except ValueError:
            automation.create()


def bury(api_url: str, pool: str) -> int:
    """Call the runs of a pool crashed whose processes are gone, all of them on this machine; returns how many those were."""
    wanted = {"flow_runs": {"state": {"type": {"any_": ["RUNNING", "PENDING"]}}}, "work_pools": {"name": {"any_": [pool]}}}
    buried = 0
    with httpx.Client(base_url=api_url, timeout=30) as client:
        found = client.post("/flow_runs/filter", json=wanted)
        found.raise_for_status()
        for run in found.json():
            pid = str(run["infrastructure_pid"] or "")
            if pid.isdigit() and not psutil.pid_exists(int(pid)):
                state = {"type": "CRASHED", "name": "Crashed", "message": "Its process is gone"}
                client.post(f"/flow_runs/{run['id']}/set_state", json={"state": state}).raise_for_status()
                buried += 1
    return buried
