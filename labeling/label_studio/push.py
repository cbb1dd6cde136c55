"""Every person in one open task: imported where it is missing, renewed where there is newer material, a second one removed.

A task is about a person and all that there was of them when it was made, its *material*. Whoever has answered may be asked
again, in a task of its own that says after how many answers; the answer given stays where it is. A task that nobody has begun
is not asked twice but renewed in its place, and remembers what it showed before and until when: a page may be open.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx

from labeling.label_studio import pagination
from labeling.label_studio.annotations import ReaderProject

_ATTEMPTS = 3
_SHOWN = ("frames", "suggestions", "suggested_by")

_Key: TypeAlias = tuple[str, str | None, int]
"""A person, a material, and after how many answers of the reader the question is asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class AskedTask:
    """A task of a project: about whom, about which material of theirs (absent in old tasks), and whether it is answered.

    ``after`` so many answers of the reader it was asked.
    """

    id: int
    subject: str
    material: str | None
    answered: bool
    after: int = 0

    def asks(self, material: str | None, after: int) -> bool:
        """Whether this is the question about some material, asked after so many answers: open, or answered since."""
        return self.material == material and (not self.answered or self.after >= after)


def due(
    asked: Iterable[AskedTask], materials: Mapping[str, str], *, heard: Mapping[str, int], stale: Collection[str]
) -> tuple[list[str], list[str]]:
    """Who has a task to be renewed or is to be asked again, and who was never asked, both in the order of ``materials``.

    Args:
        asked: every task of the reader's project.
        materials: person → the name of what there is of them now; of everybody whom readers are asked about.
        heard: people about whom answers of the reader stand, and how many.
        stale: those of them who look different in newer frames.
    """
    tasks: dict[str, list[AskedTask]] = defaultdict(list)
    for task in asked:
        tasks[task.subject].append(task)
    renewed, new = [], []
    for person, material in materials.items():
        there = tasks[person]
        if any(task.asks(material, heard.get(person, 0)) for task in there):
            continue
        waits = person not in heard and not all(task.answered for task in there)  # an answer not read yet is waited for
        if person in stale or waits:
            renewed.append(person)
        elif person not in heard and not there:
            new.append(person)
    return renewed, new


def push(
    client: Any,
    project: ReaderProject,
    tasks: Sequence[Mapping[str, Any]],
    *,
    names: Mapping[str, str],
) -> int:
    """Makes the project ask about these people and materials; how many of the tasks were imported.

    Args:
        client: from ``labeling.label_studio.sync.connect``.
        project: where to.
        tasks: as ``labeling.sampling.tasks`` makes them.
        names: who was merged into whom: what is asked about either is asked about one person.
    """
    wanted = {key_of(task["data"], names): dict(task) for task in tasks}
    new: set[_Key] = set()
    for left in reversed(range(_ATTEMPTS if wanted else 0)):
        known = _tidy(client, project, names)
        missing = [key for key in wanted if not any(asked_task(task, names).asks(*key[1:]) for task in known[key[0]])]
        stale = [key for key in missing if any(not task.is_labeled for task in known[key[0]])]
        for key in stale:
            _renew(client, project, known[key[0]], wanted[key])
        missing = [key for key in missing if key not in set(stale)]
        new |= set(missing)
        try:
            for start in range(0, len(missing), pagination.PAGE):
                batch = [wanted[key] for key in missing[start : start + pagination.PAGE]]
                client.projects.import_tasks(project.id, request=batch)
        except httpx.TransportError:  # it may have arrived: look again
            if not left:
                raise
        else:
            break
    if new:
        _tidy(client, project, names)
    return len(new)


def get_task(client: Any, task: int) -> Any:
    """Return a task as it is now, or ``None`` if another push has removed it."""
    return _unless_gone(client.tasks.get, task)


def delete_task(client: Any, task: int) -> None:
    """Delete a task, unless another push has done so."""
    _unless_gone(client.tasks.delete, task)


def _unless_gone(call: Callable[[str], Any], task: int) -> Any:
    from label_studio_sdk.core.api_error import ApiError

    try:
        return call(str(task))
    except ApiError as error:
        if error.status_code != 404:
            raise
        return None


def asked_task(task: Any, names: Mapping[str, str]) -> AskedTask:
    """A task of Label Studio's list, about the person whom ``names`` says: who was merged into whom."""
    subject, material, after = key_of(task.data, names)
    return AskedTask(id=task.id, subject=subject, material=material, answered=bool(task.is_labeled), after=after)


def key_of(data: Mapping[str, Any], names: Mapping[str, str]) -> _Key:
    """What a task asks: two with one key ask the same."""
    subject = str(data.get("subject", ""))
    return names.get(subject, subject), data.get("material"), data.get("after") or 0


def _renew(client: Any, project: ReaderProject, there: Iterable[Any], wanted: Mapping[str, Any]) -> None:
    """Gives a person's open task the newer material, unless somebody is at it: then it is asked again when it is answered."""
    task = next(task for task in there if not task.is_labeled)
    fresh = get_task(client, task.id)
    if fresh is None or fresh.annotations or fresh.drafts:
        return
    until = pagination.look(client, project).now.isoformat()
    shown = {name: task.data.get(name) for name in _SHOWN} | {"until": until}
    client.tasks.update(str(task.id), data=wanted["data"] | {"before": [*task.data.get("before", []), shown]})


def _tidy(client: Any, project: ReaderProject, names: Mapping[str, str]) -> dict[str, list[Any]]:
    """The project's tasks by person, after those were removed that ask a second time."""
    tasks: dict[str, list[Any]] = defaultdict(list)
    for task in pagination.tasks(client, project):
        tasks[key_of(task.data, names)[0]].append(task)
    return defaultdict(list, {person: _once(client, same) if person else same for person, same in tasks.items()})


def _once(client: Any, same: list[Any]) -> list[Any]:
    """Removes a person's tasks that nobody began and that ask what is asked already; of several open ones the oldest stays.

    Returns those that are left; another push may have removed some since they were listed.
    """
    still_open = [task for task in same if not task.is_labeled]
    answered = {key_of(task.data, {})[1:] for task in same if task.is_labeled}
    doubled = [task for task in still_open if key_of(task.data, {})[1:] in answered]
    if not doubled and len(still_open) < 2:
        return same
    fresh = {task.id: get_task(client, task.id) for task in still_open}  # an answer may have come since the list
    begun = {number for number, task in fresh.items() if task is not None and (task.annotations or task.drafts)}
    untouched = [task for task in still_open if fresh[task.id] is not None and task.id not in begun]
    keep = None if begun else next((task for task in untouched if task not in doubled), None)
    for task in untouched:
        if task is not keep:
            delete_task(client, task.id)
    return [task for task in same if task.is_labeled or task.id in begun or task is keep]
