"""Push tasks to a reader's project: import missing tasks, renew open ones, delete duplicates.

A task is about one person and their *material*: all frames that existed when the task was made. A reader who has answered may
get the same person again, in a new task whose ``after`` is the number of earlier answers; those answers stay. An open task
without a draft is renewed in place instead. It remembers what it showed before and until when, because its page may be open.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import httpx

from labeling.label_studio import pagination
from labeling.label_studio.annotations import ReaderProject
from labeling.label_studio.client import delete_task, get_task, readable_errors
from labeling.sampling.tasks import without_measures, without_suggestions
from vitau.schema import canonical_case, case_name, person_of

_ATTEMPTS = 3
_SHOWN = ("frames", "suggestions", "suggested_by", "measures_version", "asked")

_Key: TypeAlias = tuple[str, str | None, int]
"""Subject, material, and the number of answers after which the reader is asked."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PushedTask:
    """A task of a project: its subject, its material (absent in old tasks), and whether it is answered.

    ``subject`` is the name of a case, one person at one visit (:mod:`vitau.schema.visits`).
    ``after`` is the number of the reader's answers before this task was pushed. ``suggested`` means that it shows a model's
    scores, ``measured`` that it shows measures.
    """

    id: int
    subject: str
    material: str | None
    answered: bool
    after: int = 0
    suggested: bool = False
    measured: bool = False

    def covers(self, material: str | None, after: int) -> bool:
        """Return whether this task shows ``material`` and is open, or was answered after so many earlier answers."""
        return self.material == material and (not self.answered or self.after >= after)


@readable_errors()
def pushed_tasks(client: Any, project: ReaderProject, *, names: Mapping[str, str] | None = None) -> list[PushedTask]:
    """Return the tasks of a project, in the order in which its reader gets them.

    Args:
        client: from ``labeling.label_studio.client.connect``.
        project: from ``labeling.label_studio.projects.ensure_project``.
        names: merged subject → the subject that was kept.
    """
    return [_pushed_task(task, names or {}) for task in pagination.list_tasks(client, project)]


@readable_errors()
def push(
    client: Any, project: ReaderProject, tasks: Sequence[Mapping[str, Any]], *, names: Mapping[str, str] | None = None
) -> int:
    """Import the tasks that a project lacks, renew open ones, and return how many were missing. Idempotent.

    The project's tasks are listed before each import, and again after an import whose reply was lost. Two concurrent pushes may
    both import a person; the later one deletes the younger task, and the next push does if both were killed.

    Args:
        client: from ``labeling.label_studio.client.connect``.
        project: from ``labeling.label_studio.projects.ensure_project``.
        tasks: from ``labeling.sampling.tasks``.
        names: merged subject → the subject that was kept; tasks about either are about one person.
    """
    names = names or {}
    wanted = {_key(task["data"], names): dict(task) for task in tasks}
    new: set[_Key] = set()
    for attempts_left in reversed(range(_ATTEMPTS if wanted else 0)):
        known = _delete_duplicates(client, project, names)
        missing = [key for key in wanted if not any(_pushed_task(task, names).covers(*key[1:]) for task in known[key[0]])]
        outdated = [key for key in missing if any(not task.is_labeled for task in known[key[0]])]
        for key in outdated:
            _renew(client, project, known[key[0]], wanted[key])
        missing = [key for key in missing if key not in set(outdated)]
        new |= set(missing)
        try:
            for start in range(0, len(missing), pagination.PAGE):
                batch = [wanted[key] for key in missing[start : start + pagination.PAGE]]
                client.projects.import_tasks(project.id, request=batch)
        except httpx.TransportError:  # the import may have arrived: list the tasks again
            if not attempts_left:
                raise
        else:
            break
    if new:
        _delete_duplicates(client, project, names)
    return len(new)


@readable_errors()
def delete_unanswered(
    client: Any, project: ReaderProject, subjects: Collection[str], *, names: Mapping[str, str] | None = None
) -> int:
    """Delete the tasks about these people that have no answer, with their drafts; return their number. Answered tasks stay."""
    still_open = [task for task in pagination.list_tasks(client, project) if not task.is_labeled]
    theirs = [task.id for task in still_open if person_of(_key(task.data, names or {})[0]) in subjects]
    return sum(_delete_unless(client, task, lambda current: current.annotations) for task in theirs)


@readable_errors()
def delete_untouched(client: Any, project: ReaderProject) -> int:
    """Delete the tasks whose reader has begun neither an answer nor a draft; return their number."""
    still_open = [task.id for task in pagination.list_tasks(client, project) if not task.is_labeled]
    return sum(_delete_unless(client, task, lambda current: current.annotations or current.drafts) for task in still_open)


@readable_errors()
def hide_suggestions(client: Any, project: ReaderProject, tasks: Iterable[PushedTask]) -> int:
    """Remove the model's scores from open tasks, unless their reader has begun an answer; return the number of tasks."""
    return _hide(client, project, tasks, "suggestions", without_suggestions)


@readable_errors()
def hide_measures(client: Any, project: ReaderProject, tasks: Iterable[PushedTask]) -> int:
    """Remove the measures from open tasks, unless their reader has begun an answer; return the number of tasks."""
    return _hide(client, project, tasks, "measures_version", without_measures)


def due_subjects(
    pushed: Iterable[PushedTask], materials: Mapping[str, str], *, answered: Mapping[str, int], stale: Collection[str]
) -> tuple[list[str], list[str]]:
    """Return the subjects to ask about again (in a renewed or a second task), and those never asked about.

    Both are in the order of ``materials``.

    Args:
        pushed: the tasks of the reader's project.
        materials: subject → the name of their material now, for every subject of the study.
        answered: subject → the number of the reader's standing answers, where there are any.
        stale: the answered subjects who look different in newer frames.
    """
    tasks: dict[str, list[PushedTask]] = defaultdict(list)
    for task in pushed:
        tasks[task.subject].append(task)
    again, new = [], []
    for subject, material in materials.items():
        if any(task.covers(material, answered.get(subject, 0)) for task in tasks[subject]):
            continue
        # an answer that was not pulled yet is waited for
        outdated = subject not in answered and not all(task.answered for task in tasks[subject])
        if subject in stale or outdated:
            again.append(subject)
        elif subject not in answered and not tasks[subject]:
            new.append(subject)
    return again, new


def _delete_unless(client: Any, number: int, kept: Callable[[Any], object]) -> bool:
    """Delete a task unless something has come since it was listed; return whether it was deleted."""
    current = get_task(client, number)
    if current is None or kept(current):
        return False
    delete_task(client, number)
    return True


def _pushed_task(task: Any, names: Mapping[str, str]) -> PushedTask:
    subject, material, after = _key(task.data, names)
    return PushedTask(
        id=task.id,
        subject=subject,
        material=material,
        answered=bool(task.is_labeled),
        after=after,
        suggested=task.data.get("suggestions") is not None,
        measured=task.data.get("measures_version") is not None,
    )


def _key(data: Mapping[str, Any], names: Mapping[str, str]) -> _Key:
    """Return what identifies the question of a task."""
    subject = str(data.get("subject", ""))
    return canonical_case(case_name(subject, data.get("visit")), names), data.get("material"), data.get("after") or 0


def _hide(
    client: Any,
    project: ReaderProject,
    tasks: Iterable[PushedTask],
    shown: str,
    without: Callable[[Mapping[str, Any]], dict[str, Any]],
) -> int:
    """Renew the tasks whose data hold ``shown`` with data that lack it."""
    hidden = 0
    for task in tasks:
        current = get_task(client, task.id)
        if current is not None and current.data.get(shown) is not None:
            hidden += _renew(client, project, [current], {"data": without(current.data)})
    return hidden


def _renew(client: Any, project: ReaderProject, tasks: Iterable[Any], wanted: Mapping[str, Any]) -> bool:
    """Replace the material of a person's open task, unless its reader has begun an answer; a later push then asks again.

    Returns:
        Whether the task was replaced.
    """
    task = next(task for task in tasks if not task.is_labeled)
    current = get_task(client, task.id)
    if current is None or current.annotations or current.drafts:
        return False
    until = pagination.project_status(client, project).now.isoformat()
    shown = {name: task.data.get(name) for name in _SHOWN} | {"until": until}
    client.tasks.update(str(task.id), data=wanted["data"] | {"before": [*task.data.get("before", []), shown]})
    return True


def _delete_duplicates(client: Any, project: ReaderProject, names: Mapping[str, str]) -> dict[str, list[Any]]:
    """Delete the project's duplicate tasks; return the others by subject."""
    tasks: dict[str, list[Any]] = defaultdict(list)
    for task in pagination.list_tasks(client, project):
        tasks[_key(task.data, names)[0]].append(task)
    kept = {subject: _keep_one(client, same) if subject else same for subject, same in tasks.items()}
    return defaultdict(list, kept)


def _keep_one(client: Any, same: list[Any]) -> list[Any]:
    """Delete a person's untouched tasks that repeat an answered question, and all but the oldest of several open tasks.

    Returns the remaining tasks; a concurrent push may have deleted some since they were listed.
    """
    still_open = [task for task in same if not task.is_labeled]
    answered = {_key(task.data, {})[1:] for task in same if task.is_labeled}
    repeated = [task for task in still_open if _key(task.data, {})[1:] in answered]
    if not repeated and len(still_open) < 2:
        return same
    current = {task.id: get_task(client, task.id) for task in still_open}  # an answer may have come since the list
    begun = {number for number, task in current.items() if task is not None and (task.annotations or task.drafts)}
    untouched = [task for task in still_open if current[task.id] is not None and task.id not in begun]
    kept = None if begun else next((task for task in untouched if task not in repeated), None)
    for task in untouched:
        if task is not kept:
            delete_task(client, task.id)
    return [task for task in same if task.is_labeled or task.id in begun or task is kept]
