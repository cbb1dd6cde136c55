"""Projects of Label Studio: create them, connect them to the store and to the webhook server, count and erase their tasks."""

import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit
from xml.etree.ElementTree import canonicalize

from labeling.interface.answer import SEVERITIES, SYNKINESES
from labeling.interface.config import INSTRUCTION, is_ours, label_config
from labeling.label_studio.annotations import ReaderProject
from labeling.label_studio.client import delete_task, readable_errors
from labeling.label_studio.pagination import list_tasks
from labeling.sampling.tasks import PAGE_DATA, store_folder, strip
from vitau.errors import LabelingError
from vitau.schema import Stage

log = logging.getLogger(__name__)

PRESIGN_MIN: Final = 5
"""Minutes during which the link to a picture can be opened; the page asks for a new one each time it shows it."""

STORAGE: Final = "ViTAU store"
"""Title of a project's connection to the objects."""
SECRET_HEADER = "X-ViTAU-Secret"  # noqa: S105 - the header's name
SKIP_QUEUE: Final = "REQUEUE_FOR_ME"
"""A skipped task returns to the reader who skipped it, after all others. Label Studio's default waits for another reader."""
ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
"""The events that Label Studio sends to the webhook; "annotations deleted" is also sent for a single one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Access:
    """Access of Label Studio to the object store: it signs the URLs that the readers' browsers open."""

    endpoint_url: str | None
    access_key: str
    secret_key: str
    region: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Receiver:
    """URL of the webhook server, and the secret that proves a request to come from Label Studio."""

    url: str
    secret: str = field(repr=False)


@readable_errors()
def ensure_project(
    client: Any,
    title: str,
    *,
    reader: str,
    stage: Stage,
    store_uri: str,
    severity: bool = False,
    s3: S3Access | None = None,
    receiver: Receiver | None = None,
) -> ReaderProject:
    """Return the project called ``title``; create it if it is missing. Idempotent.

    The project has the labeling page of its ``stage``, a connection to the store, and a webhook if there is a ``receiver``.
    A project of an earlier version gets the page of this one, and its skipped tasks return to its reader from then on.

    Raises:
        LabelingError: two projects have this title, the labeling page was changed by hand, or Label Studio may not read the
            store.
    """
    config = label_config(adjudication=stage is Stage.ADJUDICATION, severity=severity)
    without_counters = "id,title,label_config,created_at,skip_queue"
    found = client.projects.list(title=title, page_size=100, include=without_counters)
    same = [project for project in found if project.title == title]
    if len(same) > 1:
        raise LabelingError(f"{len(same)} projects are called “{title}” in Label Studio; rename all but one")
    if same:
        project = same[0]
        if not is_ours(project.label_config):
            raise LabelingError(
                f"the labeling page of project “{title}” was changed in Label Studio; restore it "
                "(`python -m labeling config` prints it) or rename the project"
            )
        if project.skip_queue != SKIP_QUEUE:
            client.projects.update(project.id, skip_queue=SKIP_QUEUE)
    else:
        project = client.projects.create(
            title=title,
            label_config=config,
            expert_instruction=INSTRUCTION,
            show_instruction=False,
            maximum_annotations=1,
            show_collab_predictions=False,  # a blind reader sees no other answer, not even a model's
            sampling="Sequential sampling",
            skip_queue=SKIP_QUEUE,
        )
    ours = ReaderProject(id=project.id, title=title, reader=reader, stage=stage, made_at=project.created_at.isoformat())
    if canonicalize(project.label_config, strip_text=True) != canonicalize(config, strip_text=True):
        _replace_page(client, ours, config)
    _ensure_storage(client, project.id, store_uri, s3)
    if receiver is not None:
        _ensure_webhook(client, project.id, receiver)
    return ours


@readable_errors()
def erase_subjects(client: Any, subjects: Collection[str], *, on_found: Callable[[int], None] | None = None) -> int:
    """Delete the tasks about ``subjects``, with answers and drafts, in every ViTAU project; return how many.

    ``on_found`` is called with their number before the first is deleted.
    """
    found = []
    for project in client.projects.list(page_size=100, include="id,title,created_at"):
        if (project.title or "").startswith("ViTAU "):
            ours = ReaderProject(id=project.id, title=project.title, reader="", stage=Stage.READER, made_at="")
            found += [task.id for task in list_tasks(client, ours) if task.data.get("subject") in subjects]
    if on_found is not None:
        on_found(len(found))
    for number in found:
        delete_task(client, number)
    return len(found)


@readable_errors()
def rename_subjects(client: Any, rename: Callable[[Any], Any], *, dry_run: bool = False) -> int:
    """Replace the names of people in the data of the tasks of all ViTAU projects; return the number of tasks. Idempotent.

    Args:
        client: from ``labeling.label_studio.client.connect``.
        rename: returns the data of a task with the new names.
        dry_run: count only.
    """
    changed = 0
    for project in client.projects.list(page_size=100, include="id,title,created_at"):
        if not (project.title or "").startswith("ViTAU "):
            continue
        ours = ReaderProject(id=project.id, title=project.title, reader="", stage=Stage.READER, made_at="")
        for task in list(list_tasks(client, ours)):
            data = rename(task.data)
            if data != task.data:
                changed += 1
                if not dry_run:
                    client.tasks.update(str(task.id), data=data)
    return changed


@readable_errors()
def contents_of_tasks(client: Any) -> list[tuple[int, str]]:
    """Return the number and the content, as text, of every task in all ViTAU projects, answers and predictions included."""
    found = []
    for project in client.projects.list(page_size=100, include="id,title,created_at"):
        if (project.title or "").startswith("ViTAU "):
            ours = ReaderProject(id=project.id, title=project.title, reader="", stage=Stage.READER, made_at="")
            found += [(task.id, str(task)) for task in list_tasks(client, ours, fields="all")]
    return found


@readable_errors()
def count_answers(client: Any) -> list[dict[str, Any]]:
    """Return, for every project, its title, its number of people, and how many of them are answered."""
    return [
        {"project": project.title, "subjects": project.task_number or 0, "answered": project.num_tasks_with_annotations or 0}
        for project in client.projects.list(page_size=100)
    ]


def _replace_page(client: Any, project: ReaderProject, config: str) -> None:
    """Replace the page of an earlier version, after its tasks have the data that the new page shows."""
    for task in list(list_tasks(client, project)):
        defaults = {**PAGE_DATA, "pictures": strip(task.data.get("images", []))}
        if missing := {name: value for name, value in defaults.items() if name not in task.data}:
            client.tasks.update(str(task.id), data=task.data | missing)
    try:
        with readable_errors():
            client.projects.update(project.id, label_config=config, expert_instruction=INSTRUCTION)
    except LabelingError as error:
        # Label Studio keeps lists with answers
        if not any(name in str(error) for name in (*SEVERITIES, *SYNKINESES)):
            raise
        log.warning("project “%s” holds severities and keeps the questions for them", project.title)


@readable_errors()
def reconnect_store(client: Any, store_uri: str, s3: S3Access | None = None) -> int:
    """Connect every ViTAU project to the subjects' objects where they are now; return how many were connected elsewhere.

    A folder that was moved has another path, and a local S3 server gets another port at each start.
    """
    found = [project for project in client.projects.list(page_size=100) if (project.title or "").startswith("ViTAU ")]
    return sum(_ensure_storage(client, project.id, store_uri, s3) for project in found)


def _ensure_storage(client: Any, project: int, store_uri: str, s3: S3Access | None) -> bool:
    """Connect a project to the subjects' objects; return whether it was not. The connection is never synced.

    A sync would add tasks of its own.
    """
    folder = store_folder(store_uri)
    if folder is not None:
        people = folder.resolve() / "subjects"
        people.mkdir(parents=True, exist_ok=True)  # Label Studio refuses a folder that does not exist
        path, known = str(people), client.import_storage.local.list(project=project)
        if any(storage.path == path for storage in known):
            return False
        client.import_storage.local.create(project=project, title=STORAGE, path=path, use_blob_urls=True)
        for moved in known:
            if moved.title == STORAGE:
                client.import_storage.local.delete(moved.id)
        return True
    parts = urlsplit(store_uri)
    bucket, prefix = parts.netloc, parts.path.strip("/")
    if s3 is None:
        raise LabelingError(f"the store {store_uri} needs an S3 key that Label Studio may use; none is set")
    known = [
        storage
        for storage in client.import_storage.s3.list(project=project)
        if (storage.bucket, storage.prefix or "") == (bucket, prefix)
    ]
    # of an earlier version, with the keys of the flows, or of a server that had another port
    old = [one for one in known if one.presign_ttl != PRESIGN_MIN or (one.s3endpoint or "") != (s3.endpoint_url or "")]
    for storage in old:
        client.import_storage.s3.update(
            storage.id,
            presign_ttl=PRESIGN_MIN,
            s3endpoint=s3.endpoint_url or "",
            aws_access_key_id=s3.access_key,
            aws_secret_access_key=s3.secret_key,
        )
    if not known:
        client.import_storage.s3.create(
            project=project,
            title=STORAGE,
            bucket=bucket,
            prefix=prefix,
            use_blob_urls=True,
            presign=True,
            presign_ttl=PRESIGN_MIN,
            s3endpoint=s3.endpoint_url or "",  # the SDK's spelling; another one silently means AWS
            aws_access_key_id=s3.access_key,
            aws_secret_access_key=s3.secret_key,
            region_name=s3.region or "",
        )
    return bool(old) or not known


def _ensure_webhook(client: Any, project: int, receiver: Receiver) -> None:
    """Create or update the one webhook of a project that calls the ``receiver``; delete duplicates."""
    wanted = {
        "url": receiver.url,
        "headers": {SECRET_HEADER: receiver.secret},
        "is_active": True,
        "send_payload": True,  # only the payload holds the number of the project
        "send_for_all_actions": False,
        "actions": list(ACTIONS),
    }
    ours = [hook for hook in client.webhooks.list(project=str(project)) if hook.url == receiver.url]
    for extra in ours[1:]:
        client.webhooks.delete(extra.id)
    if not ours:
        client.webhooks.create(project=project, **wanted)
    elif any(_plain(getattr(ours[0], name)) != _plain(value) for name, value in wanted.items()):
        client.webhooks.update(ours[0].id, **wanted)


def _plain(value: Any) -> Any:
    return sorted(map(str, value)) if isinstance(value, list | tuple) else value
