"""Checks of Label Studio, by its REST interface. Nothing is made there."""

import ipaddress
import socket
from typing import Any, Final
from urllib.parse import urlsplit

import httpx

from flows.doctor.asking import answer, plain
from flows.doctor.findings import AilmentError, NotApplicableError, SymptomError
from flows.doctor.machine import numbers
from flows.doctor.storage import endpoint_of
from flows.settings import Settings
from labeling.sampling.tasks import store_folder
from vitau.store import S3Store, open_store

LABEL_STUDIO: Final = (1, 23)
"""The release that all of this was tried with."""


def account(settings: Settings) -> str:
    """See whether it answers, takes our token, and is the release that we know."""
    found = ask_label_studio(settings, "GET", "/api/current-user/whoami")
    if found.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        disabled = "legacy" in found.text.lower()
        raise AilmentError(
            f"Label Studio at {settings.label_studio_url} "
            + (
                "does not take legacy tokens: turn them on for its organization (LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN=true "
                "before its first start)"
                if disabled
                else "refuses VITAU_LABEL_STUDIO_TOKEN: take the one from its page Account & Settings"
            )
        )
    if found.status_code != httpx.codes.OK:
        raise AilmentError(f"{settings.label_studio_url} answers {found.status_code}: is it Label Studio? Correct the address")
    release = str(ask_label_studio(settings, "GET", "/api/version").json().get("release", ""))
    if numbers(release)[:2] != LABEL_STUDIO:
        ours = ".".join(map(str, LABEL_STUDIO))
        raise SymptomError(f"Label Studio is {release or 'of an unknown release'}, and {ours} was tried: install that one")
    return f"Label Studio {release} takes the token"


def addresses(settings: Settings) -> str:
    """See whether it would send hints to, and read objects from, the addresses of ours that are on private networks."""
    ours = {
        "the receiver (VITAU_WEBHOOK_URL)": settings.webhook_url,
        "the object store": endpoint_of(open_store(settings.store)),
    }
    private = {name: url for name, url in ours.items() if url is not None and is_private(url)}
    if not private:
        raise NotApplicableError("no address that it must reach is on loopback or a private network")
    for name, url in private.items():
        trial = {"url": url, "actions": ["NO_SUCH_ACTION"]}  # refused in any case: for its address, or else for its action
        found = ask_label_studio(settings, "POST", "/api/webhooks/", json=trial)
        if found.status_code == httpx.codes.FORBIDDEN:
            raise AilmentError(
                f"Label Studio's SSRF protection blocks the private address of {name}: start it with "
                "SSRF_PROTECTION_ENABLED=false where only you can reach it, or give it a public address"
            )
    return f"it may reach {' and '.join(private)}"


def pictures(settings: Settings) -> str:
    """Let it try to open the store, as a storage of one of its projects."""
    projects = ask_label_studio(settings, "GET", "/api/projects/", params={"page_size": 1}).json().get("results", [])
    if not projects:
        raise NotApplicableError("it has no project yet: run `python -m flows annotate`")
    folder = store_folder(settings.store)
    trial: dict[str, Any] = {"project": projects[0]["id"], "use_blob_urls": True}
    if folder is not None:
        kind = "localfiles"
        trial["path"] = str(folder.resolve() / "subjects")
        way_out = (
            f"start it with LOCAL_FILES_SERVING_ENABLED=true and LOCAL_FILES_DOCUMENT_ROOT={folder.resolve()}, on a machine "
            "that has this folder"
        )
    else:
        kind, store = "s3", open_store(settings.store)
        assert isinstance(store, S3Store)
        keys, prefix = store.access(), urlsplit(settings.store).path.strip("/")
        trial |= {"bucket": store.bucket, "prefix": prefix, "presign": True, "s3_endpoint": keys.endpoint_url}
        trial |= {
            "aws_access_key_id": keys.access_key,
            "aws_secret_access_key": keys.secret_key,
            "region_name": keys.region or "",
        }
        way_out = f"it must reach {keys.endpoint_url} with our keys"
        wrong_endpoint(settings, store.bucket, keys.endpoint_url)
    found = ask_label_studio(settings, "POST", f"/api/storages/{kind}/validate", json=trial)
    if found.status_code >= httpx.codes.BAD_REQUEST:
        raise AilmentError(f"Label Studio cannot open the store ({plain(found)}): {way_out}")
    return "it can open the store"


def wrong_endpoint(settings: Settings, bucket: str, endpoint: str) -> None:
    """Look for connections to our bucket that lead to another endpoint: one under a wrong name silently means AWS."""
    for project in ask_label_studio(settings, "GET", "/api/projects/", params={"page_size": 100}).json().get("results", []):
        storages = ask_label_studio(settings, "GET", "/api/storages/s3", params={"project": project["id"]}).json()
        for storage in storages:
            theirs = (storage.get("s3_endpoint") or "").rstrip("/")
            if storage.get("bucket") == bucket and theirs != endpoint.rstrip("/"):
                raise AilmentError(
                    f"project {project['id']} of Label Studio looks for {bucket} at {theirs or 'AWS'} and not at {endpoint}: "
                    "delete that storage in its settings, and run `python -m flows annotate`"
                )


def ask_label_studio(settings: Settings, method: str, path: str, **arguments: Any) -> httpx.Response:
    """Ask Label Studio with our token."""
    headers = {"Authorization": f"Token {settings.label_studio_token.get_secret_value()}"}
    way_out = "start it (`make up` on one machine), or correct VITAU_LABEL_STUDIO_URL"
    return answer(method, settings.label_studio_url.rstrip("/") + path, way_out, headers=headers, **arguments)


def is_private(url: str) -> bool:
    """Tell whether an address leads to loopback or a private network."""
    try:
        addresses = {entry[4][0] for entry in socket.getaddrinfo(urlsplit(url).hostname, None)}
    except OSError:
        return False
    return any(not ipaddress.ip_address(address).is_global for address in addresses)
