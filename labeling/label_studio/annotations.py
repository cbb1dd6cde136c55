"""Annotations of Label Studio: create them, and parse them into ledger rows."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, Field, StrictBool, StrictInt, StrictStr, ValidationError

from labeling.interface.answer import Answer, from_result, to_result
from labeling.label_studio.client import readable_errors
from labeling.storable import is_storable, is_time, storable_text
from vitau.errors import LabelingError, quoted
from vitau.schema import AU, AUS, CheckKind, CheckQuestion, LedgerRow, Mark, Stage, parse_visit

CLOCK_TOLERANCE: Final = timedelta(seconds=5)
"""Label Studio's times are whole seconds, and a browser measures by its own clock how long a page was open."""

_MAX_PROBLEM: Final = 400


class _ContradictionError(LabelingError):
    """An answer that its reader can mend."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderProject:
    """A reader's own project. The community edition has no blind reading within one project.

    ``checks`` are the questions that check the reader. Nothing in a task names them, because readers can see its data.
    """

    id: int
    title: str
    reader: str
    stage: Stage
    made_at: str = ""
    checks: tuple[CheckQuestion, ...] = field(default=(), repr=False)

    @property
    def identity(self) -> str:
        """The number and the time of creation: unique even if another Label Studio assigns the same number."""
        return f"{self.id} {self.made_at}".strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedAnnotation:
    """An annotation that Label Studio has now: its ledger rows, or the reason why it cannot be read.

    ``contradicts`` means that its reader can mend it: the answer contradicts itself or lacks something.
    """

    task: int
    annotation: str
    subject: str
    version: str
    rows: tuple[LedgerRow, ...] = ()
    unusable_frames: frozenset[str] = frozenset()
    problem: str | None = None
    contradicts: bool = False

    @property
    def key(self) -> tuple[str, str]:
        """Number and subject: after a restored backup, a number may be assigned again to an answer about another person."""
        return self.annotation, self.subject


@readable_errors()
def create_annotation(client: Any, task: int, answer: Answer, *, lead_time_s: float | None = None) -> None:
    """Create an annotation with ``answer``, as a reader's browser does on submission."""
    client.annotations.create(task, result=to_result(answer, explicit=True), lead_time=lead_time_s)


def parse_task(project: ReaderProject, task: Mapping[str, Any], subjects: Collection[str]) -> list[ParsedAnnotation]:
    """Parse the annotations of a task, except cancelled ones.

    Args:
        project: the project of the task.
        task: ``id``, ``data`` and ``annotations`` in the format of Label Studio's API.
        subjects: the known pseudonyms; an answer about another one has a ``problem``.

    Raises:
        LabelingError: the task, or what identifies one of its annotations, does not have this format. Leaving such an
            annotation out would look as if a reader had deleted it.
    """
    try:
        _Task.model_validate(task)
    except ValidationError as error:
        fault = error.errors(include_input=False)[0]
        where = quoted(".".join(map(str, fault["loc"]))) or "the task"
        raise LabelingError(
            f"Label Studio's export of project {project.id} cannot be read: {where}: {fault['msg']}; correct the task there"
        ) from error
    submitted = (annotation for annotation in task["annotations"] if not annotation["was_cancelled"])
    return [_parse(project, task, annotation, subjects) for annotation in submitted]


def parse_time(version: str) -> datetime:
    """Parse a time of Label Studio. As text, two of them do not compare: a whole second has no fraction."""
    return datetime.fromisoformat(version)


def _checked_time(text: str) -> str:
    if not is_time(text):
        raise ValueError("it is not a time with a time zone")
    return text


_Number = Annotated[StrictInt, Field(ge=-(2**63), lt=2**63)]


class _Annotation(BaseModel):
    id: _Number
    updated_at: Annotated[StrictStr, AfterValidator(_checked_time)]
    was_cancelled: StrictBool


class _Task(BaseModel):
    id: _Number
    data: dict[str, Any]
    annotations: list[_Annotation]


def _parse(
    project: ReaderProject, task: Mapping[str, Any], annotation: Mapping[str, Any], subjects: Collection[str]
) -> ParsedAnnotation:
    identity = {
        "task": task["id"],
        "annotation": str(annotation["id"]),
        "subject": storable_text(str(task["data"].get("subject", ""))),
        "version": annotation["updated_at"],
    }
    try:
        data = _data_as_shown(task["data"], annotation)
        _check_types(data, annotation)
        _check_subject(data, subjects)
        answer = _parse_answer(project, data, annotation)
        frames = tuple(data["frames"])
        return ParsedAnnotation(
            **identity,
            rows=tuple(_row(project, au, answer, data, annotation, frames) for au in AUS),
            unusable_frames=frozenset(frames[index] for index in answer.unusable if index < len(frames)),
        )
    except _ContradictionError as error:
        return ParsedAnnotation(**identity, problem=quoted(error, _MAX_PROBLEM), contradicts=True)
    except LabelingError as error:
        return ParsedAnnotation(**identity, problem=quoted(error, _MAX_PROBLEM))
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        problem = "it does not have the form of the labeling page; delete it in Label Studio, and the reader can answer again"
        return ParsedAnnotation(**identity, problem=problem)


def _data_as_shown(data: Mapping[str, Any], annotation: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the task data that the page showed when it was opened: a task may be renewed while a reader has it open.

    In doubt this is the older data: the reader is then asked about the newer frames once more.
    """
    opened = parse_time(annotation.get("created_at") or annotation["updated_at"])
    opened -= timedelta(seconds=annotation.get("lead_time") or 0)
    for before in data.get("before", ()):
        if opened <= parse_time(before["until"]) + CLOCK_TOLERANCE:
            return {**data, "measures_version": None, **before}  # earlier versions showed and noted no measures
    return data


def _check_types(data: Mapping[str, Any], annotation: Mapping[str, Any]) -> None:
    """Raise ValueError or TypeError unless everything that becomes a ledger row beside the answer can be stored."""
    shown = (data.get("suggestions"), data.get("suggested_by"), data.get("measures_version"), annotation.get("lead_time"))
    if not is_storable([data.get("frames"), shown]) or data.get("visit") != parse_visit(data.get("visit") or ""):
        raise ValueError("it holds what no database stores")
    for value, kinds in (
        *((frame, str) for frame in data.get("frames") or ()),
        *zip(shown, (dict, str, str, int | float), strict=True),
    ):
        if value is not None and not isinstance(value, kinds):
            raise TypeError("it holds a value of another type")


def _check_subject(data: Mapping[str, Any], subjects: Collection[str]) -> None:
    subject = data.get("subject")
    if not isinstance(subject, str) or subject not in subjects:
        raise LabelingError("unknown subject; it was erased, or ViTAU did not create the task")
    if not isinstance(data.get("frames"), list):
        raise LabelingError(
            f"the task of subject {subject} names no frames; ViTAU did not create it: delete it in Label Studio"
        )


def _parse_answer(project: ReaderProject, data: Mapping[str, Any], annotation: Mapping[str, Any]) -> Answer:
    asked = [AU(au) for au in data.get("asked") or ()]
    try:
        return from_result(annotation["result"], num_pictures=len(data["frames"]), stage=project.stage, asked=asked)
    except LabelingError as error:
        raise _ContradictionError(str(error)) from error


def _check_kind(project: ReaderProject, data: Mapping[str, Any]) -> CheckKind | None:
    """Return the kind of check that a task is; ``None`` for all others."""
    question = data["subject"], data.get("material"), data.get("after") or 0
    return next((check.kind for check in project.checks if (check.subject, check.material, check.after) == question), None)


def _row(
    project: ReaderProject,
    au: AU,
    answer: Answer,
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
        affected=answer.affected.get(au),
        asked=au in answer.affected,
        side=answer.side,
        annotation=str(annotation["id"]),
        version=annotation["updated_at"],
        check_kind=_check_kind(project, data),
        visit=data.get("visit"),
        answered_at=annotation["updated_at"],
        frames_shown=frames,
        note=answer.note and storable_text(answer.note),
        suggestion=None if suggested is None else float(suggested),
        suggested_by=None if suggested is None else data.get("suggested_by"),
        grade=answer.grade,
        severity=answer.severity.get(au),
        synkinesis=answer.synkinesis.get(au),
        lead_time_s=annotation.get("lead_time"),
        measures_shown=data.get("measures_version"),
        marks=tuple(
            Mark(frame=frames[index], box=(left, top, width, height))
            for index, left, top, width, height in answer.marks.get(au, ())
        ),
    )
