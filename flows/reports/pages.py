"""Pages of the local services: the addresses that open what a person looks for, and pictures that follow a moved folder."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import httpx

from flows.settings import Settings
from vitau.store.atomic import write_atomic

if TYPE_CHECKING:  # SQLAlchemy and boto3, which `up` rarely needs
    from flows.workspace import Workspace

PLACE: Final = "place"
"""File of a state folder with the address of the store that Label Studio's projects read."""
_TIMEOUT_S: Final = 20.0


def page_addresses(settings: Settings, prefect_url: str, state: Path) -> Iterator[tuple[str, str]]:
    """Yield what a page is for, and its address: labeling pages with open tasks, trainings, models, runs, the demo's report."""
    for project in labeling_projects(settings):
        num_open = (project.get("task_number") or 0) - (project.get("num_tasks_with_annotations") or 0)
        if num_open > 0:
            page = f"{settings.label_studio_url}/projects/{project['id']}/data?labeling=1"
            yield f"label as {project['title'].removeprefix('ViTAU ')}, {num_open} people wait", page
    yield "trainings", f"{settings.mlflow_url}/#/experiments?workflowType=machine_learning"
    yield "models", f"{settings.mlflow_url}/#/models"
    yield "runs of flows", f"{prefect_url}/runs"
    report = state.resolve() / "report.html"
    if report.exists():
        yield "report", report.as_uri()


def labeling_projects(settings: Settings) -> list[dict[str, Any]]:
    """Return ViTAU's projects in Label Studio, as it describes them; none while it does not answer."""
    wanted: dict[str, str | int] = {"page_size": 100, "include": "id,title,task_number,num_tasks_with_annotations"}
    headers = {"Authorization": f"Token {settings.label_studio_token.get_secret_value()}"}
    try:
        url = f"{settings.label_studio_url}/api/projects/"
        answer = httpx.get(url, params=wanted, headers=headers, timeout=_TIMEOUT_S)
        found: list[dict[str, Any]] = answer.raise_for_status().json().get("results", [])
    except (httpx.HTTPError, ValueError):
        return []
    return [project for project in found if str(project.get("title", "")).startswith("ViTAU ")]


def follow_store(workspace: "Workspace", state: Path) -> int:
    """Connect Label Studio's projects to the store where it is now, after a state folder was moved or copied.

    Returns:
        The number of projects that read another place before; 0 if the store is where it was.

    Raises:
        LabelingError: Label Studio refuses.
    """
    from labeling.label_studio.projects import S3Access, reconnect_store

    keys = workspace.label_pages_keys()
    place = workspace.store.uri if keys is None else f"{workspace.store.uri} at {keys.endpoint_url}"
    note = state / PLACE
    if note.exists() and note.read_text() == place:
        return 0
    s3 = None if keys is None else S3Access(**asdict(keys))
    num_projects = reconnect_store(workspace.label_studio, workspace.settings.store, s3)
    write_atomic(note, place)
    return num_projects
