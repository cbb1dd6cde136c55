"""The one door to Label Studio: projects made, tasks pushed, answers posted and pulled; everything may be repeated safely."""

import json
import weakref
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from xml.etree.ElementTree import canonicalize

import httpx

from labeling.interface.config import INSTRUCTION, Answer, label_config, to_result
from labeling.label_studio import pagination
from labeling.label_studio.annotations import ParsedAnnotation, ReaderProject, read_task, when
from labeling.label_studio.push import AskedTask, asked_task, delete_task
from labeling.label_studio.push import push as push_tasks
from labeling.label_studio.reconcile import Reconciled, concerned, merged, notice, reconcile, skipped, standing
from labeling.label_studio.retries import PATIENCE_S, PatientTransport
from labeling.label_studio.storage import Receiver, S3Access, ensure_storage, ensure_webhook
from vitau.errors import LabelingError
from vitau.schema import LedgerEntry, LedgerRow, PullState, SeenAnnotation, Skipped, Stage

OVERLAP = timedelta(seconds=60)
"""How far an incremental pull looks back behind the last one: a change is stamped before it can be read."""
WHOLE_EVERY = timedelta(days=1)
"""After this long a pull reads everything again, whatever the counts say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenTask:
    """A task that nobody has answered yet."""

    id: int
    subject: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Pulled:
    """What one project says: ledger rows in the order of answering, the frames called unusable, and what could not be read.

    ``seen`` and ``state`` are for the next pull: note the first before the rows are appended, the second after. ``whole`` says
    that everything was read. ``notice`` is a sentence for the operator where something looks like an accident.
    """

    rows: tuple[LedgerRow, ...]
    unusable_frames: frozenset[str]
    skipped: tuple[Skipped, ...]
    state: PullState = field(compare=False)
    seen: tuple[SeenAnnotation, ...]
    whole: bool
    notice: str | None = None


@contextmanager
def one_sentence() -> Iterator[None]:
    """Turns what the SDK and its transport raise into a sentence; never repeats a header, which would hold the token."""
    from label_studio_sdk.core.api_error import ApiError  # four seconds that `--help` need not cost

    try:
        yield
    except ApiError as error:
        if error.status_code in {401, 403}:
            raise LabelingError("Label Studio refuses the token; take the one from its page Account & Settings") from error
        if error.status_code == 404 and "No Project" in str(error.body):
            raise LabelingError(
                "a project was deleted in Label Studio meanwhile; what its reader said stands, run it again to make it anew"
            ) from error
        body = json.dumps(error.body, default=str) if isinstance(error.body, Mapping) else str(error.body)
        raise LabelingError(f"Label Studio answers {error.status_code}: {body[:300]}; see its log") from error
    except httpx.HTTPError as error:
        raise LabelingError(
            f"Label Studio does not answer ({type(error).__name__}); is it running, at this address?"
        ) from error


def connect(
    url: str,
    token: str,
    *,
    timeout_s: float = 60.0,
    patience_s: float = PATIENCE_S,
    transport: httpx.BaseTransport | None = None,
) -> Any:
    """Return a client of the Label Studio at ``url``, for the functions below; several threads may use it.

    Args:
        url: the address of Label Studio.
        token: an access token, from its page Account & Settings.
        timeout_s: how long one attempt of a request may take.
        patience_s: how long a request is retried while the server is restarting.
        transport: what sends a single attempt; httpx's own by default.

    Raises:
        LabelingError: nothing answers there, or the token is wrong.
    """
    from label_studio_sdk import LabelStudio  # four seconds that `--help` need not cost

    patient = PatientTransport(transport or httpx.HTTPTransport(), patience_s=patience_s)
    requests = httpx.Client(timeout=timeout_s, follow_redirects=True, transport=patient)
    # the SDK's own retries would send an import again that had arrived
    client = LabelStudio(base_url=url.rstrip("/"), api_key=token, httpx_client=requests, max_retries=0)
    weakref.finalize(client, requests.close)  # the SDK leaves its connections open
    try:
        with one_sentence():
            client.users.whoami()
    except LabelingError as error:
        raise LabelingError(f"{url}: {error}") from error.__cause__
    return client


@one_sentence()
def ensure_project(
    client: Any,
    title: str,
    *,
    reader: str,
    stage: Stage,
    store_uri: str,
    s3: S3Access | None = None,
    receiver: Receiver | None = None,
) -> ReaderProject:
    """The project called ``title``, made if it is missing, with our questions and a way to the store's pictures.

    With a ``receiver``, Label Studio tells it of every answer.

    Raises:
        LabelingError: two projects have this title, its questions were changed by hand, or Label Studio may not read the store.
    """
    config = label_config(adjudication=stage is Stage.ADJUDICATION)
    without_counters = "id,title,label_config,created_at"
    found = client.projects.list(title=title, page_size=100, include=without_counters)
    same = [project for project in found if project.title == title]
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
    ensure_storage(client, project.id, store_uri, s3)
    if receiver is not None:
        ensure_webhook(client, project.id, receiver)
    return ReaderProject(id=project.id, title=title, reader=reader, stage=stage, made_at=project.created_at.isoformat())


@one_sentence()
def asked(client: Any, project: ReaderProject, *, names: Mapping[str, str] | None = None) -> list[AskedTask]:
    """Every task of the project, in the order in which its reader gets them; who was merged has the name in ``names``."""
    return [asked_task(task, names or {}) for task in pagination.tasks(client, project)]


@one_sentence()
def push(
    client: Any,
    project: ReaderProject,
    tasks: Sequence[Mapping[str, Any]],
    *,
    names: Mapping[str, str] | None = None,
) -> int:
    """Makes the project ask about these people; how many tasks it did not have yet. ``names``: who was merged into whom.

    Before an import, and after one whose reply never came, the project is asked what it has. A person's open task is renewed,
    not doubled. Two pushes at once may both import a person; the later one sees both tasks and removes the younger, as does the
    next push if it was killed before that.
    """
    return push_tasks(client, project, tasks, names=names or {})


@one_sentence()
def open_tasks(client: Any, project: ReaderProject) -> list[OpenTask]:
    """The project's tasks without an answer, in the order in which they came."""
    return [
        OpenTask(id=task.id, subject=task.data["subject"]) for task in pagination.tasks(client, project) if not task.is_labeled
    ]


@one_sentence()
def answer(client: Any, task: OpenTask, said: Answer, *, lead_time_s: float | None = None) -> None:
    """Posts an answer as a reader's browser does."""
    client.annotations.create(task.id, result=to_result(said), lead_time=lead_time_s)


@one_sentence()
def pull(
    client: Any,
    project: ReaderProject,
    subjects: Collection[str],
    *,
    state: PullState | None = None,
    seen: Sequence[SeenAnnotation] = (),
    said: Sequence[LedgerEntry] = (),
    whole: bool = False,
    accept_deletions: bool = False,
) -> Pulled:
    """The project's answers that are new since the last pull, and what was taken back; without a ``state`` every answer.

    A row's ``version`` is the annotation's time of change: pulling again gives equal rows until somebody corrects something.
    Only what changed is read, as long as Label Studio counts as many annotations as we know; otherwise, and once a day, all.

    Args:
        client: from ``connect``.
        project: from ``ensure_project``.
        subjects: the pseudonyms that we know; an answer about anybody else is listed as skipped.
        state: how far the last pull came.
        seen: what the pulls before saw.
        said: what the ledger has of this reader, in its order.
        whole: read everything, whatever changed.
        accept_deletions: whatever vanished was meant to.
    """
    there = pagination.look(client, project)
    restored = state is not None and there.number < state.number
    due = state is None or there.now - when(state.whole_at) >= WHOLE_EVERY
    changed = None
    if state and not (whole or restored or due or accept_deletions):
        changed = _changed(
            client, project, subjects, seen, said, since=when(state.seen_until) - OVERLAP, count=there.num_annotations
        )
    if changed is None:
        found = _read(client, project, subjects)
        done = reconcile(project, found, seen, said, num_seen=standing(seen), restored=restored, accept=accept_deletions)
    else:
        found, done = changed
    known = merged(seen, done.seen)
    number = max(there.number, state.number if state else 0) + bool(done.seen)
    return Pulled(
        rows=done.rows,
        unusable_frames=frozenset().union(*(one.unusable_frames for one in found)),
        skipped=tuple(skipped(project, each) for each in known if each.problem and not each.gone),
        state=PullState(
            project=project.identity,
            title=project.title,
            reader=project.reader,
            stage=project.stage,
            seen_until=there.now.isoformat(),
            whole_at=state.whole_at if state and changed else there.now.isoformat(),
            number=number,
        ),
        seen=done.seen,
        whole=changed is None,
        notice=notice(project, done, known, restored=restored),
    )


@one_sentence()
def mark(client: Any, state: PullState) -> None:
    """Writes into the project how often it was pulled; call it when the state is safe in the catalog."""
    client.projects.update(int(state.project.split()[0]), description=pagination.MARK.format(state.number))


def _changed(
    client: Any,
    project: ReaderProject,
    subjects: Collection[str],
    seen: Sequence[SeenAnnotation],
    said: Sequence[LedgerEntry],
    *,
    since: datetime,
    count: int,
) -> tuple[list[ParsedAnnotation], Reconciled] | None:
    """What changed ``since``; nothing can be said of it unless Label Studio counts as many annotations as we then know."""
    found = _read(client, project, subjects, since=since)
    done = reconcile(project, found, concerned(found, seen), said, num_seen=standing(seen))
    known = standing(merged(seen, done.seen))
    # asked again for an answer that came meanwhile
    return (found, done) if known == count or known == pagination.look(client, project).num_annotations else None


def _read(
    client: Any, project: ReaderProject, subjects: Collection[str], *, since: datetime | None = None
) -> list[ParsedAnnotation]:
    """Every answer on the project's tasks that changed ``since``, in the order of answering."""
    changed = pagination.tasks(client, project, fields="all", filters=pagination.answered(since))
    raw = ({"id": task.id, "data": task.data, "annotations": task.annotations} for task in changed)
    found = [one for task in raw for one in read_task(project, task, subjects)]
    return sorted(found, key=lambda one: (when(one.version), int(one.annotation)))


@one_sentence()
def erase(client: Any, subjects: Collection[str]) -> int:
    """Deletes the tasks about some people, with their answers and drafts, in every project of ours; how many those were."""
    deleted = 0
    for project in client.projects.list(page_size=100, include="id,title,created_at"):
        if not (project.title or "").startswith("ViTAU "):
            continue
        ours = ReaderProject(id=project.id, title=project.title, reader="", stage=Stage.READER, made_at="")
        for task in [task for task in pagination.tasks(client, ours) if task.data.get("subject") in subjects]:
            delete_task(client, task.id)
            deleted += 1
    return deleted


@one_sentence()
def progress(client: Any) -> list[dict[str, Any]]:
    """Per project: its title, how many people it has, and how many of them are answered."""
    return [
        {"project": project.title, "subjects": project.task_number or 0, "answered": project.num_tasks_with_annotations or 0}
        for project in client.projects.list(page_size=100)
    ]
