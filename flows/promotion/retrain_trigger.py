"""The retraining trigger: enough labels changed since the last training, and no reader answered for a while (debounce).

A burst of answers leads to one retraining. Its idempotency key consists of the last trained snapshot and the current labels;
Prefect creates one run for a key, however often it is requested.
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
SCORE_NEW: Final = "score-unknown/score-new"

Cells = dict[tuple[str, AU], tuple[bool, Side | None]]


def retrain_if_due(workspace: Workspace, *, at: datetime | None = None) -> str | None:
    """Request a retraining if enough labels changed and the readers paused; returns the name of a new run.

    A run that has not begun will freeze these labels too, so no second one is requested. It is also due if
    a person was erased who taught the newest version of a model.
    """
    trained = last_trained(workspace)
    labels = workspace.catalog.labels()
    affected = learned_from_erased(workspace)
    changed = num_changed(workspace, trained, labels)
    enough = changed >= workspace.settings.retrain_cells or bool(affected)
    if not enough or not quiet(workspace, at or datetime.now(UTC)):
        return None
    digest = sha256(repr(sorted(cells(labels).items())).encode()).hexdigest()[:16]
    erased = "-erased" if affected else ""
    return request(RETRAIN, key=f"labels-{trained.digest if trained else 'none'}-{digest}{erased}")


def learned_from_erased(workspace: Workspace) -> list[str]:
    """Return the newest version of each model, ``name/version``, that learned from a person who was erased since."""
    trainings = sorted(workspace.catalog.trainings(), key=lambda training: training.version)
    newest = {training.model: f"{training.model}/{training.version}" for training in trainings}
    return sorted(set(newest.values()) & versions_to_retrain(workspace))


def versions_to_retrain(workspace: Workspace) -> set[str]:
    """Return every version, ``name/version``, that learned from a person whose erasure has begun."""
    return {name for erasure in workspace.catalog.erasures() for name in erasure.trainings}


def marked_in_use(workspace: Workspace) -> list[str]:
    """Return the newest versions and the champions, by the promotion log, that learned from a person who was erased since."""
    last = {record.model: record.after for record in workspace.catalog.promotions()}
    champions = {f"{model}/{version}" for model, version in last.items() if version is not None}
    return sorted({*learned_from_erased(workspace), *(champions & versions_to_retrain(workspace))})


def last_trained(workspace: Workspace) -> Snapshot | None:
    """Return the newest snapshot that a model was trained on."""
    catalog = workspace.catalog
    return next((snapshot for snapshot in reversed(catalog.snapshots()) if catalog.trainings(snapshot.digest)), None)


def num_changed(workspace: Workspace, trained: Snapshot | None, labels: Iterable[RegionLabels]) -> int:
    """Count the labels (one per person and AU) that are new, changed or gone since the training."""
    before: Iterable[RegionLabels] = ()
    if trained is not None:
        before = resolve_consensus(workspace, workspace.newest_answers_at(trained.ledger_offset)).labels
    old, new = cells(before), cells(labels)
    return sum(old.get(cell) != new.get(cell) for cell in old.keys() | new.keys())


def cells(labels: Iterable[RegionLabels]) -> Cells:
    """Return labels by case, one person at one visit, and AU; the side of a region counts if the region is affected."""
    return {
        (answer.case, au): (affected, answer.side if affected else None)
        for answer in labels
        for au, affected in answer.affected.items()
        if affected is not None
    }


def quiet(workspace: Workspace, at: datetime) -> bool:
    """Return whether no reader answered for as long as the settings require, by the clock of Label Studio."""
    answered = [datetime.fromisoformat(row.answered_at) for row in workspace.newest_answers()[0]]
    return not answered or at - max(answered) >= timedelta(seconds=workspace.settings.retrain_quiet_s)


def request(deployment: str, *, key: str | None = None) -> str | None:
    """Request a run of a deployment; returns its name, or ``None`` if it was requested before or is not deployed.

    Raises:
        StackError: Prefect does not answer, or refuses.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.exceptions import ObjectNotFound, PrefectException

    try:
        with get_client(sync_client=True) as client:
            deployed = client.read_deployment_by_name(deployment).id
            if is_requested(client, deployed, key):
                return None
            return client.create_flow_run_from_deployment(deployed, idempotency_key=key).name
    except ObjectNotFound:
        return None
    except (httpx.HTTPError, PrefectException) as error:
        raise StackError(f"Prefect cannot start {deployment} ({type(error).__name__}): is it running?") from error


def is_requested(client: "SyncPrefectClient", deployed: UUID, key: str | None) -> bool:
    """Return whether a run of a deployment is about to begin, or was requested under this key."""
    from prefect.client.schemas import filters
    from prefect.client.schemas.objects import StateType

    beginning = filters.FlowRunFilter(
        state=filters.FlowRunFilterState(type=filters.FlowRunFilterStateType(any_=[StateType.SCHEDULED, StateType.PENDING])),
        expected_start_time=filters.FlowRunFilterExpectedStartTime(before_=datetime.now(UTC)),
    )
    filters_of_run = [beginning]
    if key is not None:
        filters_of_run.append(filters.FlowRunFilter(idempotency_key=filters.FlowRunFilterIdempotencyKey(any_=[key])))
    own = filters.DeploymentFilter(id=filters.DeploymentFilterId(any_=[deployed]))
    return any(client.read_flow_runs(deployment_filter=own, flow_run_filter=wanted, limit=1) for wanted in filters_of_run)
