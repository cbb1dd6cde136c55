"""When to train again: enough labels changed since the last training, and the readers have paused. Once for each such change.

A burst of answers is one retraining: it is asked for when the readers were quiet for a while, under a key made of what was
trained last and of the labels as they are; Prefect makes one run for a key, whoever asks for it and how often.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from flows.labels import agree
from flows.workspace import Workspace
from vitau.schema import AU, RegionLabels, Side, Snapshot

RETRAIN: Final = "freeze-and-retrain/retrain"
RESCORE: Final = "rescore-champion/rescore"

Cells = dict[tuple[str, AU], tuple[bool, Side | None]]


def retrain_if_due(workspace: Workspace, *, at: datetime | None = None) -> str | None:
    """Ask for a retraining if enough labels changed and the readers have paused; returns the name of its run, if it is new.

    A run that waits to begin will freeze these labels too: no second one is asked for.
    """
    trained = last_trained(workspace)
    labels = workspace.catalog.labels()
    if num_changed(workspace, trained, labels) < workspace.settings.retrain_cells or not quiet(
        workspace, at or datetime.now(UTC)
    ):
        return None
    digest = sha256(repr(sorted(cells(labels).items())).encode()).hexdigest()[:16]
    return request(RETRAIN, key=f"labels-{trained.digest if trained else 'none'}-{digest}")


def last_trained(workspace: Workspace) -> Snapshot | None:
    """Return the youngest snapshot on which a model was trained."""
    catalog = workspace.catalog
    return next((each for each in reversed(catalog.snapshots()) if catalog.trainings(each.digest)), None)


def num_changed(workspace: Workspace, trained: Snapshot | None, labels: Iterable[RegionLabels]) -> int:
    """Count the labels (one for each person and AU) that differ from those on which was trained: new, other, or gone."""
    before: Iterable[RegionLabels] = ()
    if trained is not None:
        before = agree(workspace, workspace.catalog.ledger(upto=trained.ledger_offset)).labels
    old, new = cells(before), cells(labels)
    return sum(old.get(cell) != new.get(cell) for cell in old.keys() | new.keys())


def cells(labels: Iterable[RegionLabels]) -> Cells:
    """Lay labels out by person and AU; a side counts where something is affected."""
    return {
        (answer.subject, au): (affected, answer.side if affected else None)
        for answer in labels
        for au, affected in answer.affected.items()
        if affected is not None
    }


def quiet(workspace: Workspace, at: datetime) -> bool:
    """Say whether nobody answered for as long as the settings ask; by the clock of Label Studio."""
    answered = [datetime.fromisoformat(row.answered_at) for row in workspace.catalog.ledger()]
    return not answered or at - max(answered) >= timedelta(seconds=workspace.settings.retrain_quiet_s)


def request(deployment: str, *, key: str | None = None) -> str | None:
    """Ask for a run of a deployment; returns the run's name, nothing where it is asked for already or nobody deployed it."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        DeploymentFilter,
        DeploymentFilterId,
        FlowRunFilter,
        FlowRunFilterExpectedStartTime,
        FlowRunFilterIdempotencyKey,
        FlowRunFilterState,
        FlowRunFilterStateType,
    )
    from prefect.client.schemas.objects import StateType
    from prefect.exceptions import ObjectNotFound

    with get_client(sync_client=True) as client:
        try:
            deployed = DeploymentFilter(id=DeploymentFilterId(any_=[client.read_deployment_by_name(deployment).id]))
        except ObjectNotFound:
            return None
        beginning = FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING])),
            expected_start_time=FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
        )
        asked = FlowRunFilter(idempotency_key=FlowRunFilterIdempotencyKey(any_=[key])) if key else None
        for wanted in (beginning, asked):
            if wanted is not None and client.read_flow_runs(deployment_filter=deployed, flow_run_filter=wanted, limit=1):
                return None
        run = client.create_flow_run_from_deployment(deployed.id.any_[0], idempotency_key=key)
        return run.name
