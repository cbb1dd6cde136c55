"""Checks of Label Studio through its REST interface; they create nothing."""

import ipaddress
import socket
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from flows.doctor.findings import CheckFailedError, CheckWarningError, NotApplicableError
from flows.doctor.machine import numbers
from flows.doctor.rest import request, summarize
from flows.doctor.storage import endpoint_of
from flows.settings import Settings
from flows.workspace import Workspace
from labeling.sampling.tasks import image_url, store_folder
from vitau.store import S3Store, open_store

JPEG: Final = b"\xff\xd8\xff"
"""Beginning of a JPEG file."""
LABEL_STUDIO: Final = (1, 23)
"""The release that the code was tested with."""


def account(settings: Settings) -> str:
    """Check that it answers, accepts the token, and is the tested release."""
    found = request_label_studio(settings, "GET", "/api/current-user/whoami")
    if found.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        disabled = "legacy" in found.text.lower()
        raise CheckFailedError(
            f"Label Studio at {settings.label_studio_url} "
            + (
                "does not accept legacy tokens: enable them for its organization (LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN=true "
                "before its first start)"
                if disabled
                else "refuses VITAU_LABEL_STUDIO_TOKEN: take the one from its page Account & Settings"
            )
        )
    if found.status_code != httpx.codes.OK:
        raise CheckFailedError(
            f"{settings.label_studio_url} answers {found.status_code}: is it Label Studio? Correct the address"
        )
    release = str(request_label_studio(settings, "GET", "/api/version").json().get("release", ""))
    if numbers(release)[:2] != LABEL_STUDIO:
        ours = ".".join(map(str, LABEL_STUDIO))
        raise CheckWarningError(f"Label Studio is {release or 'of an unknown release'}, and {ours} was tried: install that one")
    return f"Label Studio {release} takes the token"


def addresses(settings: Settings) -> str:
    """Check that it may reach the webhook server and the object store if their addresses are private."""
    ours = {
        "the webhook server (VITAU_WEBHOOK_URL)": settings.webhook_url,
        "the object store": endpoint_of(open_store(settings.store)),
    }
    private = {name: url for name, url in ours.items() if url is not None and is_private(url)}
    if not private:
        raise NotApplicableError("it has to reach no address on loopback or a private network")
    for name, url in private.items():
        trial = {"url": url, "actions": ["NO_SUCH_ACTION"]}  # refused in any case, for its address or for its action
        found = request_label_studio(settings, "POST", "/api/webhooks/", json=trial)
        if found.status_code == httpx.codes.FORBIDDEN:
            raise CheckFailedError(
                f"Label Studio's SSRF protection blocks the private address of {name}: start it with "
                "SSRF_PROTECTION_ENABLED=false where only you can reach it, or use a public address"
            )
    return f"it may reach {' and '.join(private)}"


def pictures(settings: Settings) -> str:
    """Check that it can open the store as a storage of one of its projects."""
    projects = request_label_studio(settings, "GET", "/api/projects/", params={"page_size": 1}).json().get("results", [])
    if not projects:
        raise NotApplicableError("it has no project yet: run `python -m flows annotate`")
    folder = store_folder(settings.store)
    trial: dict[str, Any] = {"project": projects[0]["id"], "use_blob_urls": True}
    if folder is not None:
        kind = "localfiles"
        trial["path"] = str(folder.resolve() / "subjects")
        remedy = (
            f"start it with LOCAL_FILES_SERVING_ENABLED=true and LOCAL_FILES_DOCUMENT_ROOT={folder.resolve()}, on a machine "
            "that has this folder"
        )
    else:
        kind, store = "s3", open_store(settings.store)
        assert isinstance(store, S3Store)
        keys, prefix = Workspace(settings).label_pages_keys(), urlsplit(settings.store).path.strip("/")
        assert keys is not None, "the store is in S3"
        trial |= {"bucket": store.bucket, "prefix": prefix, "presign": True, "s3_endpoint": keys.endpoint_url}
        trial |= {
            "aws_access_key_id": keys.access_key,
            "aws_secret_access_key": keys.secret_key,
            "region_name": keys.region or "",
        }
        remedy = f"it must reach {keys.endpoint_url} with the keys of this environment"
        wrong_endpoint(settings, store.bucket, keys.endpoint_url)
    found = request_label_studio(settings, "POST", f"/api/storages/{kind}/validate", json=trial)
    if found.status_code >= httpx.codes.BAD_REQUEST:
        raise CheckFailedError(f"Label Studio cannot open the store ({summarize(found)}): {remedy}")
    return "it can open the store"


def shown_picture(settings: Settings) -> str:
    """Check that it shows the first picture of a task, through the address that a reader's page opens.

    Tasks whose pictures are in another store, those of another deployment, are left out.
    """
    ours = image_url(settings.store, "")
    projects = request_label_studio(settings, "GET", "/api/projects/", params={"page_size": 100}).json().get("results", [])
    for project in projects:
        wanted = {"project": project["id"], "page_size": 1, "fields": "all", "resolve_uri": "false"}
        tasks = request_label_studio(settings, "GET", "/api/tasks/", params=wanted).json().get("tasks", [])
        pictures = (tasks[0].get("data") or {}).get("images") if tasks else None
        if not pictures or not str(pictures[0]).startswith(ours):
            continue
        task = request_label_studio(settings, "GET", f"/api/tasks/{tasks[0]['id']}/").json()
        page = str(task["data"]["images"][0])
        found = request_label_studio(
            settings, "GET", urlsplit(page)._replace(scheme="", netloc="").geturl(), follow_redirects=True
        )
        if found.status_code != httpx.codes.OK or not found.content.startswith(JPEG):
            raise CheckFailedError(
                f"Label Studio does not show the first picture of project {project['id']} ({found.status_code}): readers see "
                "an empty frame; if the store was moved, run `python -m flows up`, else `python -m flows fsck`"
            )
        return f"a picture of project {project['id']} opens as in a reader's browser"
    raise NotApplicableError("no project has a task yet: run `python -m flows annotate`")


def wrong_endpoint(settings: Settings, bucket: str, endpoint: str) -> None:
    """Check that no storage of the bucket has another endpoint: an empty one silently means AWS."""
    for project in request_label_studio(settings, "GET", "/api/projects/", params={"page_size": 100}).json().get("results", []):
        storages = request_label_studio(settings, "GET", "/api/storages/s3", params={"project": project["id"]}).json()
        for storage in storages:
            theirs = (storage.get("s3_endpoint") or "").rstrip("/")
            if storage.get("bucket") == bucket and theirs != endpoint.rstrip("/"):
                raise CheckFailedError(
                    f"project {project['id']} of Label Studio reads {bucket} from {theirs or 'AWS'} and not from {endpoint}: "
                    "delete that storage in its settings, and run `python -m flows annotate`"
                )


def request_label_studio(settings: Settings, method: str, path: str, **arguments: Any) -> httpx.Response:
    """Send a request to Label Studio with the token of the settings."""
    headers = {"Authorization": f"Token {settings.label_studio_token.get_secret_value()}"}
    remedy = "start it (`make up` on one machine), or correct VITAU_LABEL_STUDIO_URL"
    return request(method, settings.label_studio_url.rstrip("/") + path, remedy, headers=headers, **arguments)


def is_private(url: str) -> bool:
    """Return whether an address is on loopback or a private network."""
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(urlsplit(url).hostname, None)}
    except OSError:
        return False
    return any(not ipaddress.ip_address(address).is_global for address in addresses)
