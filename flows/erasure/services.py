"""Traces of a person in services: runs of Prefect, runs and versions of MLflow, tasks of Label Studio."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from flows.erasure.traces import Traces
from flows.workspace import Workspace
from vitau.errors import StackError
from vitau.schema import tombstone

if TYPE_CHECKING:
    from prefect.client.orchestration import SyncPrefectClient

_PAGE = 200


def clean_prefect(traces: Traces) -> int:
    """Redact the parameters of the run that erases, and delete all other runs and logs that name the person; return the number.

    Raises:
        StackError: Prefect does not answer, or refuses.
    """
    import httpx
    from prefect.client.orchestration import get_client
    from prefect.context import FlowRunContext, get_run_context
    from prefect.exceptions import MissingContextError, ObjectNotFound, PrefectException

    try:
        context = get_run_context()
    except MissingContextError:
        return 0  # no server takes part: the flow's function was called
    run = context.flow_run if isinstance(context, FlowRunContext) else None
    own = None if run is None else run.id
    cleaned = 0
    try:
        with get_client(sync_client=True) as client:
            for kind, number, facts in _records(client):
                if not traces.in_text(json.dumps(facts)):
                    continue
                if kind == "flow_runs" and number == str(own):
                    redacted = {name: _without(value, traces) for name, value in facts["parameters"].items()}
                    client.update_flow_run(own, parameters=redacted)  # type: ignore[arg-type]  # it is not None here
                elif kind == "logs":
                    if facts["flow_run_id"] not in {None, str(own)}:
                        _delete(client, "flow_runs", facts["flow_run_id"])
                else:
                    _delete(client, kind, number)
                cleaned += 1
    except ObjectNotFound:
        return cleaned
    except (httpx.HTTPError, PrefectException) as error:
        raise StackError(f"Prefect cannot be searched ({type(error).__name__}): is it running?") from error
    return cleaned


def traces_in_prefect(traces: Traces) -> list[str]:
    """Return the runs, task runs and logs of Prefect that name the person; none if no server takes part."""
    from prefect.client.orchestration import get_client
    from prefect.context import get_run_context
    from prefect.exceptions import MissingContextError

    try:
        get_run_context()
    except MissingContextError:
        return []
    with get_client(sync_client=True) as client:
        return [f"{kind} {number}" for kind, number, facts in _records(client) if traces.in_text(json.dumps(facts))]


def traces_in_label_studio(workspace: Workspace, traces: Traces) -> list[str]:
    """Return the tasks of ViTAU's projects that name the person, with their answers and predictions."""
    from labeling.label_studio.projects import contents_of_tasks

    return [f"task {number}" for number, text in contents_of_tasks(workspace.label_studio) if traces.in_text(text)]


def traces_in_mlflow(workspace: Workspace, traces: Traces) -> list[str]:
    """Return the runs and versions in MLflow that name the person."""
    from vitau.registry.traces import find_traces

    return find_traces(workspace.settings.mlflow_url, traces.in_text)


def mark_versions(workspace: Workspace, trained: tuple[str, ...]) -> None:
    """Tag the versions in MLflow that learned from an erased person."""
    from vitau.registry.traces import mark_for_retraining

    versions = [(name, int(version)) for name, _, version in (model.rpartition("/") for model in trained)]
    mark_for_retraining(workspace.settings.mlflow_url, versions, "it learned from a person who was erased")


def _records(client: "SyncPrefectClient") -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the kind, number and content of every flow run, task run and log of Prefect."""
    for kind in ("flow_runs", "task_runs", "logs"):
        offset = 0
        while True:
            answer = client._client.post(f"/{kind}/filter", json={"limit": _PAGE, "offset": offset})  # noqa: SLF001 - raw JSON
            answer.raise_for_status()
            page = answer.json()
            yield from ((kind, record["id"], record) for record in page)
            if len(page) < _PAGE:
                break
            offset += _PAGE


def _delete(client: "SyncPrefectClient", kind: str, number: str) -> None:
    client._client.delete(f"/{kind}/{number}")  # noqa: SLF001 - one call for every kind


def _without(value: Any, traces: Traces) -> Any:
    """Return a parameter with the person's pseudonyms replaced by their tombstones."""
    text = json.dumps(value)
    for name in traces.names:
        text = text.replace(name, tombstone(name))
    return json.loads(text)
