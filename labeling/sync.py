"""The one door to Label Studio: projects made, tasks pushed, answers posted and pulled; everything may be repeated safely."""

import json
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit
from xml.etree.ElementTree import canonicalize

from labeling.project import INSTRUCTION, Answer, from_result, label_config, to_result
from labeling.tasks import store_folder
from vitau.errors import LabelingError
from vitau.schema import AU, AUS, EvidenceBox, LedgerRow, Skipped, Stage

_PAGE = 500  # tasks per request


@dataclass(frozen=True, kw_only=True, slots=True)
class ReaderProject:
    """One reader's own project in Label Studio: blindness in the community edition is separate projects."""

    id: int
    title: str
    reader: str
    stage: Stage


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Access:
    """How Label Studio reaches the object store: it signs the addresses that the readers' browsers open."""

    endpoint_url: str | None
    access_key: str
    secret_key: str
    region: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenTask:
    """A task that nobody has answered yet."""

    id: int
    subject: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulled:
    """What one project says: ledger rows in the order of answering, the frames called unusable, and what could not be read."""

    rows: tuple[LedgerRow, ...]
    unusable_frames: frozenset[str]
    skipped: tuple[Skipped, ...]


@contextmanager
def _one_sentence() -> Iterator[None]:
    """Turns what the SDK and its transport raise into a sentence; never repeats a header, which would hold the token."""
    import httpx
    from label_studio_sdk.core.api_error import ApiError  # four seconds that `--help` need not cost

    try:
        yield
    except ApiError as error:
        if error.status_code in {401, 403}:
            raise LabelingError("Label Studio refuses the token; take the one from its page Account & Settings") from error
        body = json.dumps(error.body, default=str) if isinstance(error.body, Mapping) else str(error.body)
        raise LabelingError(f"Label Studio answers {error.status_code}: {body[:300]}; see its log") from error
    except httpx.HTTPError as error:
        raise LabelingError(
            f"Label Studio does not answer ({type(error).__name__}); is it running, at this address?"
        ) from error


def connect(url: str, token: str, *, timeout_s: float = 60.0) -> Any:
    """A client of the Label Studio at ``url``, for the functions below; several threads may use it.

    Raises:
        LabelingError: nothing answers there, or the token is wrong.
    """
    import httpx
    from label_studio_sdk import LabelStudio  # four seconds that `--help` need not cost

    transport = httpx.Client(timeout=timeout_s, follow_redirects=True)
    client = LabelStudio(base_url=url.rstrip("/"), api_key=token, httpx_client=transport)
    weakref.finalize(client, transport.close)  # the SDK leaves its connections open
    try:
        with _one_sentence():
            client.users.whoami()
    except LabelingError as error:
        raise LabelingError(f"{url}: {error}") from error.__cause__
    return client


@_one_sentence()
def ensure_project(
    client: Any, title: str, *, reader: str, stage: Stage, store_uri: str, s3: S3Access | None = None
) -> ReaderProject:
    """The project called ``title``, made if it is missing, with our questions and a way to the store's pictures.

    Raises:
        LabelingError: two projects have this title, its questions were changed by hand, or Label Studio may not read the store.
    """
    config = label_config(adjudication=stage is Stage.ADJUDICATION)
    same = [project for project in client.projects.list(title=title, page_size=100) if project.title == title]
    if len(same) > 1:
        raise LabelingError(f"{len(same)} projects are called “{title}” in Label Studio; rename all but one")
    if same:
        project = same[0]
        if canonicalize(project.label_config, strip_text=True) != canonicalize(config, strip_text=True):
            raise LabelingError(
                f"the questions of project “{title}” are not ours; restore them (`python -m labeling config`) or rename it"
            )
    else:
        project = client.projects.create(
            title=title,
            label_config=config,
            expert_instruction=INSTRUCTION,
            show_instruction=False,
            maximum_annotations=1,
            show_collab_predictions=False,  # a blind reader is shown nobody's answer, no model's either
            sampling="Sequential sampling",
        )
    _ensure_storage(client, project.id, store_uri, s3)
    return ReaderProject(id=project.id, title=title, reader=reader, stage=stage)


@_one_sentence()
def push(client: Any, project: ReaderProject, tasks: Sequence[Mapping[str, Any]]) -> int:
    """Imports the tasks of people whom the project does not have yet; how many those were."""
    known = {task.data["subject"] for task in client.tasks.list(project=project.id, page_size=_PAGE)}
    new = [task for task in tasks if task["data"]["subject"] not in known]
    for start in range(0, len(new), _PAGE):
        client.projects.import_tasks(project.id, request=[dict(task) for task in new[start : start + _PAGE]])
    return len(new)


@_one_sentence()
def open_tasks(client: Any, project: ReaderProject) -> list[OpenTask]:
    """The project's tasks without an answer, in the order in which they came."""
    tasks = client.tasks.list(project=project.id, page_size=_PAGE)
    return [OpenTask(id=task.id, subject=task.data["subject"]) for task in tasks if not task.is_labeled]


@_one_sentence()
def answer(client: Any, task: OpenTask, said: Answer) -> None:
    """Posts an answer as a reader's browser does."""
    client.annotations.create(task.id, result=to_result(said))


@_one_sentence()
def pull(client: Any, project: ReaderProject, subjects: Collection[str]) -> Pulled:
    """Every answer of the project, as ledger rows; skipped tasks are no answers.

    A row's ``version`` is the annotation's time of change: pulling again gives equal rows until somebody corrects something.

    Args:
        client: from ``connect``.
        project: from ``ensure_project``.
        subjects: the pseudonyms that we know; an answer about anybody else is listed as skipped.
    """
    rows, unusable, skipped = [], set(), []
    tasks = client.tasks.list(project=project.id, fields="all", only_annotated=True, resolve_uri=False, page_size=_PAGE)
    annotations = [(task, annotation) for task in tasks for annotation in task.annotations if not annotation["was_cancelled"]]
    for task, annotation in sorted(annotations, key=lambda pair: (pair[1]["updated_at"], pair[1]["id"])):
        try:
            said = _read(task, annotation, subjects)
        except LabelingError as error:
            skipped.append(
                Skipped(item=f"project {project.title}, task {task.id}, annotation {annotation['id']}", reason=str(error))
            )
            continue
        frames = tuple(task.data["frames"])
        unusable |= {frames[index] for index in said.unusable if index < len(frames)}
        rows += [_row(project, au, said, task.data["subject"], annotation, frames) for au in AUS]
    return Pulled(rows=tuple(rows), unusable_frames=frozenset(unusable), skipped=tuple(skipped))


@_one_sentence()
def progress(client: Any) -> list[dict[str, Any]]:
    """Per project: its title, how many people it has, and how many of them are answered."""
    return [
        {"project": project.title, "subjects": project.task_number or 0, "answered": project.num_tasks_with_annotations or 0}
        for project in client.projects.list(page_size=100)
    ]


def _read(task: Any, annotation: Mapping[str, Any], subjects: Collection[str]) -> Answer:
    subject = task.data.get("subject")
    if subject not in subjects:
        raise LabelingError(f"unknown subject {subject}; it was erased, or the task was not made by us")
    return from_result(annotation["result"], num_pictures=len(task.data["frames"]))


def _row(
    project: ReaderProject, au: AU, said: Answer, subject: str, annotation: Mapping[str, Any], frames: tuple[str, ...]
) -> LedgerRow:
    return LedgerRow(
        subject=subject,
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
        grade=said.grade,
        lead_time_s=annotation.get("lead_time"),
        evidence=tuple(
            EvidenceBox(frame=frames[index], box=(left, top, width, height))
            for index, left, top, width, height in said.evidence.get(au, ())
        ),
    )


def _ensure_storage(client: Any, project: int, store_uri: str, s3: S3Access | None) -> None:
    """A storage connection over the people's objects, made once and never synced: a sync would add tasks of its own."""
    folder = store_folder(store_uri)
    if folder is not None:
        people = folder.resolve() / "subjects"
        people.mkdir(parents=True, exist_ok=True)  # Label Studio refuses one that is not there yet
        path = str(people)
        if not any(storage.path == path for storage in client.import_storage.local.list(project=project)):
            client.import_storage.local.create(project=project, title="ViTAU store", path=path, use_blob_urls=True)
        return
    parts = urlsplit(store_uri)
    bucket, prefix = parts.netloc, parts.path.strip("/")
    if s3 is None:
        raise LabelingError(f"the store {store_uri} needs an S3 key that Label Studio may use; none is set")
    if not any(
        (storage.bucket, storage.prefix or "") == (bucket, prefix) for storage in client.import_storage.s3.list(project=project)
    ):
        client.import_storage.s3.create(
            project=project,
            title="ViTAU store",
            bucket=bucket,
            prefix=prefix,
            use_blob_urls=True,
            presign=True,
            presign_ttl=60,  # minutes
            s3endpoint=s3.endpoint_url or "",  # the SDK's spelling; another one silently means AWS
            aws_access_key_id=s3.access_key,
            aws_secret_access_key=s3.secret_key,
            region_name=s3.region or "",
        )
