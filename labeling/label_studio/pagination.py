"""How Label Studio's lists are read: page by page, only what changed, and what a project says of itself."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from labeling.label_studio.annotations import ReaderProject

MARK = "ViTAU pull {}. This line lets ViTAU notice that an old backup was restored; please leave it."
PAGE = 500
"""Tasks per request: 3.5 s of Label Studio's time with their answers, 1 s without."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ProjectStatus:
    """What a project says of itself: Label Studio's time, how many annotations it counts, and how often it was pulled."""

    now: datetime
    num_annotations: int
    number: int


def look(client: Any, project: ReaderProject) -> ProjectStatus:
    """Asks a project; one short request."""
    wanted = {"include": "id,description,total_annotations_number"}  # its other counters take longer than these
    options = {"additional_query_parameters": wanted}
    reply = client.projects.with_raw_response.get(project.id, request_options=options)
    number = re.search(MARK.split("{}", maxsplit=1)[0] + r"(\d+)", reply.data.description or "")
    return ProjectStatus(
        now=parsedate_to_datetime(reply.headers["date"]).astimezone(UTC),
        num_annotations=reply.data.total_annotations_number or 0,
        number=int(number[1]) if number else 0,
    )


def tasks(client: Any, project: ReaderProject, *, fields: str = "task_only", filters: Sequence[Any] = ()) -> Iterator[Any]:
    """The project's tasks by their number, page by page behind the last number seen: a deletion meanwhile moves no page."""
    last = 0
    while True:
        behind = _filter("id", "greater", "Number", last)
        query = {"filters": {"conjunction": "and", "items": [behind, *filters]}, "ordering": ["tasks:id"]}
        page = client.tasks.list(
            project=project.id, fields=fields, resolve_uri=False, page=1, page_size=PAGE, query=json.dumps(query)
        ).items
        yield from page
        if len(page) < PAGE:
            return
        last = page[-1].id


def answered(since: datetime | None = None) -> list[dict[str, Any]]:
    """Filters for the tasks that have an answer, of those that changed after ``since``."""
    filters = [_filter("total_annotations", "greater", "Number", 0)]
    if since is not None:
        filters.append(_filter("updated_at", "greater", "Datetime", since.strftime("%Y-%m-%dT%H:%M:%S.%fZ")))
    return filters


def _filter(column: str, operator: str, kind: str, value: Any) -> dict[str, Any]:
    return {"filter": f"filter:tasks:{column}", "operator": operator, "type": kind, "value": value}
