"""When to train again: enough labels changed since the last training, and the readers have paused. Once for each such change.

A burst of answers is one retraining: it is asked for when the readers were quiet for a while, under a key made of what was
trained last and of the labels as they are; Prefect makes one run for a key, whoever asks for it and how often.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Final
from uuid import UUID

from flows.annotation.consensus import resolve_consensus
from flows.workspace import Workspace
from vitau.errors import StackError
from vitau.schema import AU, RegionLabels, Side, Snapshot

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

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
        before = resolve_consensus(workspace, workspace.ledger(trained.ledger_offset)).labels
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
    answered = [datetime.fromisoformat(row.answered_at) for row in workspace.ledger()]
    return not answered or at - max(answered) >= timedelta(seconds=workspace.settings.retrain_quiet_s)


def request(deployment: str, *, key: str | None = None) -> str | None:
    """Ask for a run of a deployment; returns the run's name, nothing where it is asked for already or nobody deployed it.

    Raises:
        StackError: Prefect does not answer, or refuses.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound, PrefectException

    try:
        with get_client(sync_client=True) as client:
            deployed = client.read_deployment_by_name(deployment).id
            if asked_for(client, deployed, key):
                return None
            return client.create_flow_run_from_deployment(deployed, idempotency_key=key).name
    except ObjectNotFound:
        return None
    except (httpx.HTTPError, PrefectException) as error:
        raise StackError(f"Prefect cannot be asked for {deployment} ({type(error).__name__}): is it running?") from error


def asked_for(client: "SyncPrefectClient", deployed: UUID, key: str | None) -> bool:
    """Say whether a run of a deployment is about to begin, or was asked for under this key."""
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType

    beginning = filters.FlowRunFilter(
        state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING])),
        expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    wanted = [beginning]
    if key is not None:
        wanted.append(filters.FlowRunFilter(idempotency_key=filters.FlowRunFilterIdempotencyKey(any_=[key])))
    of_it = filters.DeploymentFilter(id=filters.DeploymentFilterId(any_=[deployed]))
    return any(client.read_flow_runs(deployment_filter=of_it, flow_run_filter=each, limit=1) for each in wanted)
