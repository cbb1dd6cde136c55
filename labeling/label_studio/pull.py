"""Pull answers from a reader's project: the changes since the last pull, or all of them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from labeling.label_studio import pagination
from labeling.label_studio.annotations import ParsedAnnotation, ReaderProject, parse_task, parse_time
from labeling.label_studio.client import readable_errors
from labeling.label_studio.reconcile import (
    Reconciled,
    count_present,
    loss_notice,
    reconcile,
    relevant,
    skipped_annotation,
    updated,
)
from vitau.schema import LedgerEntry, LedgerRow, PullState, SeenAnnotation, Skipped

OVERLAP: Final = timedelta(seconds=60)
"""An incremental pull begins this long before the end of the last one: a change gets its time before it can be read."""
WHOLE_EVERY: Final = timedelta(days=1)
"""A pull reads everything if the last one that did is older than this."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PullResult:
    """New ledger rows in the order of answering, the frames marked unusable, and the annotations that cannot be read.

    ``contradictory`` are the skipped annotations that their reader can mend: see :mod:`labeling.label_studio.give_back`.
    ``seen`` and ``state`` are for the next pull: write ``seen`` before the rows are appended, ``state`` after. ``whole`` is
    true if everything was read. ``notice`` is a sentence for the operator if answers seem to be lost by accident.
    """

    rows: tuple[LedgerRow, ...]
    unusable_frames: frozenset[str]
    skipped: tuple[Skipped, ...]
    contradictory: tuple[ParsedAnnotation, ...]
    state: PullState = field(compare=False)
    seen: tuple[SeenAnnotation, ...]
    whole: bool
    notice: str | None = None


@readable_errors()
def pull(
    client: Any,
    project: ReaderProject,
    subjects: Collection[str],
    *,
    state: PullState | None = None,
    seen: Sequence[SeenAnnotation] = (),
    entries: Sequence[LedgerEntry] = (),
    whole: bool = False,
    accept_deletions: bool = False,
) -> PullResult:
    """Read the answers and retractions since the last pull; every answer without a ``state``. Idempotent.

    A row's ``version`` is the time of the annotation's last change, so that equal answers give equal rows. Only changed tasks
    are read while Label Studio counts as many annotations as are known. Otherwise, and once a day, all tasks are read.

    Args:
        client: from ``labeling.label_studio.client.connect``.
        project: from ``labeling.label_studio.projects.ensure_project``.
        subjects: the known pseudonyms; an answer about another one is skipped, with the reason.
        state: the state after the last pull.
        seen: the annotations that earlier pulls have seen.
        entries: the ledger's entries of this reader, in its order.
        whole: read all tasks.
        accept_deletions: retract the answers that are gone, however many.
    """
    status = pagination.project_status(client, project)
    restored = state is not None and status.pull_number < state.number
    overdue = state is None or status.now - parse_time(state.whole_at) >= WHOLE_EVERY
    changes = None
    if state and not (whole or restored or overdue or accept_deletions):
        since = parse_time(state.seen_until) - OVERLAP
        changes = _changes(client, project, subjects, seen, entries, since=since, count=status.num_annotations)
    if changes is None:
        parsed = _read(client, project, subjects)
        result = reconcile(
            project, parsed, seen, entries, num_seen=count_present(seen), restored=restored, accept=accept_deletions
        )
    else:
        parsed, result = changes
    known = updated(seen, result.seen)
    number = max(status.pull_number, state.number if state else 0) + bool(result.seen)
    return PullResult(
        rows=result.rows,
        unusable_frames=frozenset().union(*(annotation.unusable_frames for annotation in parsed)),
        skipped=tuple(
            skipped_annotation(project, annotation) for annotation in known if annotation.problem and not annotation.gone
        ),
        contradictory=tuple(annotation for annotation in parsed if annotation.contradicts),
        state=PullState(
            project=project.identity,
            title=project.title,
            reader=project.reader,
            stage=project.stage,
            seen_until=status.now.isoformat(),
            whole_at=state.whole_at if state and changes else status.now.isoformat(),
            number=number,
            num_skipped=pagination.count_skipped(client, project) if status.num_cancelled else 0,
        ),
        seen=result.seen,
        whole=changes is None,
        notice=loss_notice(project, result, known, restored=restored),
    )


@readable_errors()
def write_pull_number(client: Any, state: PullState) -> None:
    """Write the number of the pull into the project's description, once ``state`` is in the catalog.

    A project with a lower number than its state was restored from an old backup.
    """
    client.projects.update(int(state.project.split()[0]), description=pagination.MARK.format(state.number))


def _changes(
    client: Any,
    project: ReaderProject,
    subjects: Collection[str],
    seen: Sequence[SeenAnnotation],
    entries: Sequence[LedgerEntry],
    *,
    since: datetime,
    count: int,
) -> tuple[list[ParsedAnnotation], Reconciled] | None:
    """Read the changes since a time; return ``None`` if Label Studio counts other annotations than are then known."""
    parsed = _read(client, project, subjects, since=since)
    result = reconcile(project, parsed, relevant(parsed, seen), entries, num_seen=count_present(seen))
    known = count_present(updated(seen, result.seen))
    # count once more: an answer may have come meanwhile
    matches = known == count or known == pagination.project_status(client, project).num_annotations
    return (parsed, result) if matches else None


def _read(
    client: Any, project: ReaderProject, subjects: Collection[str], *, since: datetime | None = None
) -> list[ParsedAnnotation]:
    """Read the annotations of all tasks, or of those that changed ``since``, in the order of answering."""
    tasks = pagination.list_tasks(client, project, fields="all", filters=pagination.answered_filters(since))
    raw = ({"id": task.id, "data": task.data, "annotations": task.annotations} for task in tasks)
    parsed = [annotation for task in raw for annotation in parse_task(project, task, subjects)]
    return sorted(parsed, key=lambda annotation: (parse_time(annotation.version), int(annotation.annotation)))
