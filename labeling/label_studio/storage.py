"""What a project of Label Studio is connected to: the store's pictures, and our receiver of its hints."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from labeling.sampling.tasks import store_folder
from vitau.errors import LabelingError

SECRET_HEADER = "X-ViTAU-Secret"  # noqa: S105 - the header's name
ACTIONS = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED")
"""What Label Studio tells the receiver; it says "annotations deleted" of a single one too."""


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Access:
    """How Label Studio reaches the object store: it signs the addresses that the readers' browsers open."""

    endpoint_url: str | None
    access_key: str
    secret_key: str
    region: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Receiver:
    """Where Label Studio says that an answer changed, and the secret by which the receiver knows it."""

    url: str
    secret: str = field(repr=False)


def ensure_storage(client: Any, project: int, store_uri: str, s3: S3Access | None) -> None:
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


def ensure_webhook(client: Any, project: int, receiver: Receiver) -> None:
    """One webhook of the project that calls the ``receiver`` with today's secret."""
    wanted = {
        "url": receiver.url,
        "headers": {SECRET_HEADER: receiver.secret},
        "is_active": True,
        "send_payload": True,  # the number of the project is in it, and nothing else says which one it is
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
