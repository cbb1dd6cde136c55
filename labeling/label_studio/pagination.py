"""Lists of Label Studio, read page by page, and the status of a project."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from labeling.label_studio.annotations import ReaderProject
from labeling.label_studio.client import readable_errors
from vitau.schema import case_name

MARK = "ViTAU pull {}. This line lets ViTAU notice that an old backup was restored; please leave it."
"""The description of a project, with the number of its last pull. Existing projects hold this text: never change it."""
PAGE = 500
"""Tasks per request."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectStatus:
    """The status of a project: Label Studio's clock, the number of annotations, and the number of the last pull.

    ``num_cancelled`` counts the annotations that skipped a task; they stay when the task is answered later.
    """

    now: datetime
    num_annotations: int
    num_cancelled: int
    pull_number: int


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenTask:
    """A task without an answer; ``subject`` is the name of a person at a visit."""

    id: int
    subject: str


def project_status(client: Any, project: ReaderProject) -> ProjectStatus:
    """Read the status of a project, in one short request."""
    # its other counters take longer than these
    wanted = {"include": "id,description,total_annotations_number,skipped_annotations_number"}
    options = {"additional_query_parameters": wanted}
    reply = client.projects.with_raw_response.get(project.id, request_options=options)
    number = re.search(MARK.split("{}", maxsplit=1)[0] + r"(\d+)", reply.data.description or "")
    return ProjectStatus(
        now=parsedate_to_datetime(reply.headers["date"]).astimezone(UTC),
        num_annotations=reply.data.total_annotations_number or 0,
        num_cancelled=reply.data.skipped_annotations_number or 0,
        pull_number=int(number[1]) if number else 0,
    )


def list_tasks(client: Any, project: ReaderProject, *, fields: str = "task_only", filters: Sequence[Any] = ()) -> Iterator[Any]:
    """Yield the tasks of a project by ascending number.

    A page begins after the last number read, so that a deletion between two pages skips no task.
    """
    last = 0
    while True:
        later = _filter("id", "greater", "Number", last)
        query = {"filters": {"conjunction": "and", "items": [later, *filters]}, "ordering": ["tasks:id"]}
        page = client.tasks.list(
            project=project.id, fields=fields, resolve_uri=False, page=1, page_size=PAGE, query=json.dumps(query)
        ).items
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1].id


@readable_errors()
def open_tasks(client: Any, project: ReaderProject) -> list[OpenTask]:
    """Return the tasks of a project that have no answer, in the order of their creation."""
    return [
        OpenTask(id=task.id, subject=case_name(task.data["subject"], task.data.get("visit")))
        for task in list_tasks(client, project)
        if not task.is_labeled
    ]


def count_skipped(client: Any, project: ReaderProject) -> int:
    """Count the tasks that were skipped and have no answer."""
    skipped = [_filter("cancelled_annotations", "greater", "Number", 0), _filter("total_annotations", "equal", "Number", 0)]
    return sum(1 for _ in list_tasks(client, project, filters=skipped))


def answered_filters(since: datetime | None = None) -> list[dict[str, Any]]:
    """Build the filters for tasks that have an answer and, with ``since``, changed after that time."""
    filters = [_filter("total_annotations", "greater", "Number", 0)]
    if since is not None:
        filters.append(_filter("updated_at", "greater", "Datetime", since.strftime("%Y-%m-%dT%H:%M:%S.%fZ")))
    return filters


def _filter(column: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
