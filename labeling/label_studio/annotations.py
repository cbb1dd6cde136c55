"""From an annotation as Label Studio keeps it to the rows that the ledger would get of it, or the reason why it gets none."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from labeling.interface.config import Answer, from_result
from vitau.errors import LabelingError
from vitau.schema import AU, AUS, EvidenceBox, LedgerRow, Stage

CLOCKS: Final = timedelta(seconds=5)
"""Label Studio says the time in whole seconds, and a browser counts how long a page was open by its own clock."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderProject:
    """One reader's own project in Label Studio: blindness in the community edition is separate projects."""

    id: int
    title: str
    reader: str
    stage: Stage
    made_at: str = ""

    @property
    def identity(self) -> str:
        """What no other project shares, not even one of another Label Studio that got the same number."""
        return f"{self.id} {self.made_at}".strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedAnnotation:
    """An annotation that is in Label Studio now: its ledger rows, or why it cannot be read."""

    task: int
    annotation: str
    subject: str
    version: str
    rows: tuple[LedgerRow, ...] = ()
    unusable_frames: frozenset[str] = frozenset()
    problem: str | None = None

    @property
    def key(self) -> tuple[str, str]:
        """Its number and its person: after a backup was restored, a number may be given to another person's answer."""
        return self.annotation, self.subject


def read_task(project: ReaderProject, task: Mapping[str, Any], subjects: Collection[str]) -> list[ParsedAnnotation]:
    """Every annotation of a task (``id``, ``data``, ``annotations`` as Label Studio's API writes them) that is an answer."""
    given = (annotation for annotation in task["annotations"] if not annotation["was_cancelled"])
    return [_found(project, task, annotation, subjects) for annotation in given]


def when(version: str) -> datetime:
    """The time that Label Studio writes; as text, two of them do not compare, since a whole second has no fraction."""
    return datetime.fromisoformat(version)


def _found(
    project: ReaderProject, task: Mapping[str, Any], annotation: Mapping[str, Any], subjects: Collection[str]
) -> ParsedAnnotation:
    place = {
        "task": task["id"],
        "annotation": str(annotation["id"]),
        "subject": str(task["data"].get("subject", "")),
        "version": annotation["updated_at"],
    }
    data = _as_shown(task["data"], annotation)
    try:
        said = _answer(data, annotation, subjects)
    except LabelingError as error:
        return ParsedAnnotation(**place, problem=str(error))
    frames = tuple(data["frames"])
    return ParsedAnnotation(
        **place,
        rows=tuple(_row(project, au, said, data, annotation, frames) for au in AUS),
        unusable_frames=frozenset(frames[index] for index in said.unusable if index < len(frames)),
    )


def _as_shown(data: Mapping[str, Any], annotation: Mapping[str, Any]) -> Mapping[str, Any]:
    """What the page showed when it was opened: a task may have been renewed while a reader had it open.

    In doubt it is what was shown before: then the person is asked about the newer frames once more.
    """
    opened = when(annotation.get("created_at") or annotation["updated_at"])
    opened -= timedelta(seconds=annotation.get("lead_time") or 0)
    for before in data.get("before", ()):
        if opened <= when(before["until"]) + CLOCKS:
            return {**data, **before}
    return data


def _answer(data: Mapping[str, Any], annotation: Mapping[str, Any], subjects: Collection[str]) -> Answer:
    subject = data.get("subject")
    if subject not in subjects:
        raise LabelingError(f"unknown subject {subject}; it was erased, or the task was not made by us")
    if not isinstance(data.get("frames"), list):
        raise LabelingError(f"the task of subject {subject} names no frames; it was not made by us: delete it in Label Studio")
    return from_result(annotation["result"], num_pictures=len(data["frames"]))


def _row(
    project: ReaderProject,
    au: AU,
    said: Answer,
    data: Mapping[str, Any],
    annotation: Mapping[str, Any],
    frames: tuple[str, ...],
) -> LedgerRow:
    suggested = (data.get("suggestions") or {}).get(au.value)
    return LedgerRow(
        subject=data["subject"],
        au=au,
        reader=project.reader,
        stage=project.stage,
        affected=said.affected[au],
        side=said.side,
        annotation=str(annotation["id"]),
        version=annotation["updated_at"],
        answered_at=annotation["updated_at"],
        frames_shown=frames,
        note=said.note,
        suggestion=None if suggested is None else float(suggested),
        suggested_by=None if suggested is None else data.get("suggested_by"),
        grade=said.grade,
        lead_time_s=annotation.get("lead_time"),
        evidence=tuple(
            EvidenceBox(frame=frames[index], box=(left, top, width, height))
            for index, left, top, width, height in said.evidence.get(au, ())
        ),
    )
