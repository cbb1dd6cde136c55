"""Checks of Label Studio, MLflow and Prefect, by their REST interfaces. What is made there on trial is removed again."""

import ipaddress
import os
import socket
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, Final
from urllib.parse import urlsplit
from uuid import uuid4

import httpx

from flows.doctor.findings import AilmentError, NotApplicableError, SymptomError
from flows.doctor.machine import numbers
from flows.doctor.storage import endpoint_of
from flows.settings import Settings
from labeling.tasks import store_folder
from vitau.store import S3Store, open_store

LABEL_STUDIO: Final = (1, 23)
"""The release that all of this was tried with."""
_ANSWER_S: Final = 8.0
_SCHEDULED_S: Final = 15.0
_SKEW_S: Final = 30.0
_TOO_FAR_S: Final = 600.0  # S3 refuses signatures from 900 on
_TRIAL: Final = "vitau-doctor"


def answer(method: str, url: str, way_out: str, **arguments: Any) -> httpx.Response:
    """Ask a service; one that does not answer is an ailment."""
    try:
        return httpx.request(method, url, timeout=_ANSWER_S, **arguments)
    except httpx.HTTPError as error:
        raise AilmentError(f"nothing answers at {url} ({type(error).__name__}): {way_out}") from error


# --- Label Studio ---------------------------------------------------------------------------------------------------------


def label_studio(settings: Settings) -> str:
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


def label_studio_addresses(settings: Settings) -> str:
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


def label_studio_pictures(settings: Settings) -> str:
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


# --- MLflow -----------------------------------------------------------------------------------------------------------------


def mlflow(settings: Settings) -> str:
    """See whether it answers, and whether a champion's files can be read."""
    from flows.retrain import REGIONS  # and with it Prefect: seconds

    ask_mlflow(settings, "GET", "/health")
    release = ask_mlflow(settings, "GET", "/version").text.strip()
    named = {"name": REGIONS, "alias": "champion"}
    found = ask_mlflow(settings, "GET", "/api/2.0/mlflow/registered-models/alias", params=named)
    if found.status_code != httpx.codes.OK:
        return f"MLflow {release} answers; no model is champion yet"
    number = found.json()["model_version"]["version"]
    file = ask_mlflow(
        settings, "GET", "/model-versions/get-artifact", params={"path": "MLmodel", "name": REGIONS, "version": number}
    )
    if file.status_code != httpx.codes.OK or not file.content:
        raise AilmentError(
            f"{REGIONS} {number} is champion and its files cannot be read ({plain(file)}): restore MLflow's artifacts, or make "
            "another version champion"
        )
    return f"MLflow {release} answers, and the files of {REGIONS} {number} can be read"


def mlflow_artifacts(settings: Settings) -> str:
    """Send a file through its proxy, read it, and see whether large ones can go in parts."""
    place, name = f"/api/2.0/mlflow-artifacts/artifacts/{_TRIAL}", uuid4().hex
    sent = ask_mlflow(settings, "PUT", f"{place}/{name}", content=b"x" * 4096)
    if sent.status_code != httpx.codes.OK:
        raise AilmentError(f"MLflow does not take files ({plain(sent)}): start it with --artifacts-destination")
    try:
        got = ask_mlflow(settings, "GET", f"{place}/{name}")
    finally:
        ask_mlflow(settings, "DELETE", f"{place}/{name}")
    if got.content != b"x" * 4096:
        raise AilmentError(f"MLflow does not give back the file that it took ({plain(got)}): look at its artifact store")
    begun = ask_mlflow(settings, "POST", f"/api/2.0/mlflow-artifacts/mpu/create/{_TRIAL}", json={"path": name, "num_parts": 1})
    if begun.status_code != httpx.codes.OK:
        return "files go through its proxy, whole: its artifact store is a folder, which needs no parts"
    upload = {"path": name, "upload_id": begun.json()["upload_id"]}
    ask_mlflow(settings, "POST", f"/api/2.0/mlflow-artifacts/mpu/abort/{_TRIAL}", json=upload)
    if os.environ.get("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "").lower() not in {"1", "true"}:
        raise SymptomError("large models go to MLflow's S3 whole, 5 GB at most: set MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=true")
    return "files go through its proxy, large ones in parts"


def ask_mlflow(settings: Settings, method: str, path: str, **arguments: Any) -> httpx.Response:
    """Ask MLflow; it must be MLflow that answers."""
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    signed = {"auth": (user, password)} if user and password else {}
    way_out = "start it (`make up` on one machine), or correct VITAU_MLFLOW_URL"
    found = answer(method, settings.mlflow_url.rstrip("/") + path, way_out, **signed, **arguments)
    if found.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise AilmentError(
            f"MLflow refuses us ({found.status_code}): set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if path == "/health" and found.text.strip() != "OK":
        raise AilmentError(f"what answers at {settings.mlflow_url} is not MLflow: correct VITAU_MLFLOW_URL")
    return found


# --- Prefect ----------------------------------------------------------------------------------------------------------------


def prefect(api: str | None) -> str:
    """See whether it answers, is our release, and has no run that nobody takes."""
    if ask_prefect(api, "GET", "/health").text.strip() != "true":
        raise AilmentError(f"what answers at {api} is not Prefect's API: PREFECT_API_URL ends in /api")
    theirs = str(ask_prefect(api, "GET", "/admin/version").json())
    ours = version("prefect")
    if numbers(theirs)[:2] != numbers(ours)[:2]:
        raise AilmentError(f"Prefect's server is {theirs} and ours is {ours}: install the same on both (constraints.txt)")
    late = ask_prefect(api, "POST", "/flow_runs/count", json={"flow_runs": {"state": {"name": {"any_": ["Late"]}}}}).json()
    if late:
        raise AilmentError(
            f"{late} runs are late: no worker takes them; start one per work pool (`prefect worker start --pool …`)"
        )
    return f"Prefect {theirs} answers; no run is late"


def schedules(api: str | None) -> str:
    """Schedule a deployment that nobody would run, wait until its first run stands there, and remove it."""
    flow = ask_prefect(api, "POST", "/flows/", json={"name": f"{_TRIAL}-{uuid4().hex[:8]}"}).json()["id"]
    try:
        hourly = {"schedule": {"interval": 3600}, "active": True}
        trial = {"name": _TRIAL, "flow_id": flow, "schedules": [hourly]}
        deployment = ask_prefect(api, "POST", "/deployments/", json=trial).json()["id"]
        try:
            began = time.monotonic()
            wanted = {"deployments": {"id": {"any_": [deployment]}}}
            while not ask_prefect(api, "POST", "/flow_runs/count", json=wanted).json():
                if time.monotonic() - began > _SCHEDULED_S:
                    raise AilmentError(
                        f"Prefect makes no runs of a schedule within {_SCHEDULED_S:.0f} s: its server needs "
                        "SQLAlchemy below 2.1 (`make setup`), and its services on (`prefect server services start`)"
                    )
                time.sleep(0.5)
        finally:
            ask_prefect(api, "DELETE", f"/deployments/{deployment}")
    finally:
        ask_prefect(api, "DELETE", f"/flows/{flow}")
    return "a scheduled run appears"


def ask_prefect(api: str | None, method: str, path: str, **arguments: Any) -> httpx.Response:
    """Ask Prefect's server."""
    if not api:
        raise NotApplicableError("PREFECT_API_URL is not set: flows run with a server of their own, and nothing is scheduled")
    signed = {}
    if key := os.environ.get("PREFECT_API_KEY"):
        signed = {"headers": {"Authorization": f"Bearer {key}"}}
    elif auth := os.environ.get("PREFECT_API_AUTH_STRING"):
        name, _, password = auth.partition(":")
        signed = {"auth": (name, password)}
    way_out = "start it (`make up` on one machine), or correct PREFECT_API_URL"
    found = answer(method, api.rstrip("/") + path, way_out, **signed, **arguments)
    if found.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise AilmentError(f"Prefect refuses us ({found.status_code}): set PREFECT_API_AUTH_STRING or PREFECT_API_KEY")
    if found.is_error and method != "DELETE":
        raise AilmentError(f"Prefect answers {plain(found)} to {path}: PREFECT_API_URL ends in /api; read its server's log")
    return found


# --- all of them ------------------------------------------------------------------------------------------------------------


def clock(settings: Settings, api: str | None) -> str:
    """Compare this machine's clock with what the services stamp on their answers."""
    here = {
        "Label Studio": f"{settings.label_studio_url.rstrip('/')}/health",
        "MLflow": f"{settings.mlflow_url.rstrip('/')}/health",
    }
    if api:
        here["Prefect"] = f"{api.rstrip('/')}/health"
    if (endpoint := endpoint_of(open_store(settings.store))) is not None:
        here["the object store"] = endpoint
    apart = {}
    for name, url in here.items():
        try:
            stamp = httpx.get(url, timeout=_ANSWER_S).headers.get("date")
        except httpx.HTTPError:
            continue  # another check says so
        if stamp:
            apart[name] = abs((parsedate_to_datetime(stamp) - datetime.now(UTC)).total_seconds())
    if not apart:
        raise NotApplicableError("no service says what time it is")
    furthest = max(apart, key=lambda name: apart[name])
    sentence = f"the clock of {furthest} is {apart[furthest]:.0f} s from ours"
    if apart[furthest] > _TOO_FAR_S:
        raise AilmentError(
            f"{sentence}, and S3 refuses signatures that are 15 minutes off: let both follow a time server (NTP)"
        )
    if apart[furthest] > _SKEW_S:
        raise SymptomError(f"{sentence}: let both follow a time server (NTP)")
    return sentence


def plain(response: httpx.Response) -> str:
    """Say in a few words what a service answered."""
    return f"{response.status_code}: {' '.join(response.text.split())[:200]}"
