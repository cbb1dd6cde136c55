"""Every person once: tasks are imported where they are missing, and a second task about somebody is removed."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import httpx

from labeling import pages
from labeling.reading import ReaderProject

_ATTEMPTS = 3


def push(
    client: Any,
    project: ReaderProject,
    tasks: Sequence[Mapping[str, Any]],
    *,
    delete: Callable[[int], None],
    at: Callable[[str], None],
) -> int:
    """Imports the tasks of people whom the project does not have yet; how many those were.

    Args:
        client: from ``labeling.sync.connect``.
        project: where to.
        tasks: as ``labeling.tasks`` makes them.
        delete: removes a task by its number, if it is still there.
        at: is told after every import.
    """
    wanted = {task["data"]["subject"]: dict(task) for task in tasks}
    new: set[str] = set()
    for left in reversed(range(_ATTEMPTS if wanted else 0)):
        known = _tidy(client, project, delete)
        missing = [subject for subject in wanted if subject not in known]
        new |= set(missing)
        try:
            for start in range(0, len(missing), pages.PAGE):
                batch = [wanted[subject] for subject in missing[start : start + pages.PAGE]]
                client.projects.import_tasks(project.id, request=batch)
                at("imported tasks")
        except httpx.TransportError:  # it may have arrived: look again
            if not left:
                raise
        else:
            break
    if new:
        _tidy(client, project, delete)
    return len(new)


def _tidy(client: Any, project: ReaderProject, delete: Callable[[int], None]) -> set[str]:
    """The people whom the project asks about, each once: of two tasks about one, the younger goes unless it has an answer."""
    tasks: dict[str, list[Any]] = defaultdict(list)
    for task in pages.tasks(client, project):
        tasks[task.data.get("subject", "")].append(task)
    for subject, same in tasks.items():
        for task in _superfluous(client, same) if subject else ():
            delete(task.id)
    return set(tasks)


def _superfluous(client: Any, same: Sequence[Any]) -> list[Any]:
    """Of several tasks about one person those without an answer or a draft; at least the oldest stays."""
    if len(same) == 1:
        return []
    fresh = [client.tasks.get(str(task.id)) for task in same]  # an answer may have come since the list
    begun = [bool(task.annotations or task.drafts) for task in fresh]
    keep = begun.index(True) if any(begun) else 0
    return [task for index, task in enumerate(same) if not begun[index] and index != keep]
