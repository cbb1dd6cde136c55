"""Checks of MLflow, Prefect and the clocks through their REST interfaces; they remove what they create."""

import os
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, Final
from uuid import uuid4

import httpx

from flows.doctor.findings import CheckFailedError, CheckWarningError, NotApplicableError
from flows.doctor.machine import numbers
from flows.doctor.rest import REQUEST_TIMEOUT_S, request, summarize
from flows.doctor.storage import endpoint_of
from flows.execution.prefect_api import open_api
from flows.settings import Settings
from flows.workspace import Workspace
from vitau.errors import VitauError
from vitau.store import open_store

_SCHEDULE_TIMEOUT_S: Final = 15.0
_SMALL_SKEW_S: Final = 30.0
_LARGEST_SKEW_S: Final = 600.0  # S3 refuses signatures from 900 on
_TRIAL: Final = "vitau-doctor"


def mlflow(settings: Settings) -> str:
    """Check that it answers and that the files of the champion can be read."""
    from flows.promotion.registered_models import REGIONS  # which loads MLflow

    request_mlflow(settings, "GET", "/health")
    release = request_mlflow(settings, "GET", "/version").text.strip()
    named = {"name": REGIONS, "alias": "champion"}
    found = request_mlflow(settings, "GET", "/api/2.0/mlflow/registered-models/alias", params=named)
    if found.status_code != httpx.codes.OK:
        return f"MLflow {release} answers; no model is champion yet"
    number = found.json()["model_version"]["version"]
    file = request_mlflow(
        settings, "GET", "/model-versions/get-artifact", params={"path": "MLmodel", "name": REGIONS, "version": number}
    )
    if file.status_code != httpx.codes.OK or not file.content:
        raise CheckFailedError(
            f"{REGIONS} {number} is champion and its files cannot be read ({summarize(file)}): restore MLflow's artifacts, "
            "or make another version champion"
        )
    return f"MLflow {release} answers, and the files of {REGIONS} {number} can be read"


def champions(settings: Settings) -> str:
    """Check that the champions are those of the last signed records, and that MLflow has the files that were approved."""
    from flows.promotion.champion import approval, approved_champion  # which loads MLflow
    from flows.promotion.registered_models import MODELS

    workspace = Workspace(settings)
    try:
        found = [champion for model in MODELS if (champion := approved_champion(workspace, model, settle_s=0)) is not None]
        for champion in found:
            approval(workspace, champion.model, champion.version)
    except VitauError as error:
        raise CheckFailedError(str(error)) from error
    finally:
        workspace.catalog.engine.dispose()
    if not found:
        raise NotApplicableError("no model is champion yet")
    by = (
        f"{champion.model} {champion.version} by "
        + (
            "its training"
            if champion.approved is None or champion.approved.record is None
            else f"record {champion.approved.record}"
        )
        for champion in found
    )
    return f"approved: {', '.join(by)}"


def mlflow_artifacts(settings: Settings) -> str:
    """Check the round trip of a file through its proxy, and whether large files can be sent in parts."""
    place, name = f"/api/2.0/mlflow-artifacts/artifacts/{_TRIAL}", uuid4().hex
    sent = request_mlflow(settings, "PUT", f"{place}/{name}", content=b"x" * 4096)
    if sent.status_code != httpx.codes.OK:
        raise CheckFailedError(f"MLflow does not accept files ({summarize(sent)}): start it with --artifacts-destination")
    try:
        got = request_mlflow(settings, "GET", f"{place}/{name}")
    finally:
        request_mlflow(settings, "DELETE", f"{place}/{name}")
    if got.content != b"x" * 4096:
        raise CheckFailedError(f"MLflow does not return the file that was sent ({summarize(got)}): check its artifact store")
    begun = request_mlflow(
        settings, "POST", f"/api/2.0/mlflow-artifacts/mpu/create/{_TRIAL}", json={"path": name, "num_parts": 1}
    )
    if begun.status_code != httpx.codes.OK:
        return "files pass its proxy whole: its artifact store is a folder, which needs no parts"
    upload = {"path": name, "upload_id": begun.json()["upload_id"]}
    request_mlflow(settings, "POST", f"/api/2.0/mlflow-artifacts/mpu/abort/{_TRIAL}", json=upload)
    if os.environ.get("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "").lower() not in {"1", "true"}:
        raise CheckWarningError(
            "large models reach MLflow's S3 whole, 5 GB at most: set MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=true"
        )
    return "files pass its proxy, large ones in parts"


def request_mlflow(settings: Settings, method: str, path: str, **arguments: Any) -> httpx.Response:
    """Send a request to MLflow, and check that MLflow answers."""
    user, password = os.environ.get("MLFLOW_TRACKING_USERNAME"), os.environ.get("MLFLOW_TRACKING_PASSWORD")
    signed: dict[str, Any] = {"auth": (user, password)} if user and password else {}
    remedy = "start it (`make up` on one machine), or correct VITAU_MLFLOW_URL"
    found = request(method, settings.mlflow_url.rstrip("/") + path, remedy, **signed, **arguments)
    if found.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise CheckFailedError(
            f"MLflow refuses the request ({found.status_code}): set MLFLOW_TRACKING_USERNAME and MLFLOW_TRACKING_PASSWORD"
        )
    if path == "/health" and found.text.strip() != "OK":
        raise CheckFailedError(f"the server at {settings.mlflow_url} is not MLflow: correct VITAU_MLFLOW_URL")
    return found


def prefect(api: str | None) -> str:
    """Check that it answers, is the same release, and has no late run."""
    if request_prefect(api, "GET", "/health").text.strip() != "true":
        raise CheckFailedError(f"the server at {api} is not Prefect's API: PREFECT_API_URL ends in /api")
    theirs = str(request_prefect(api, "GET", "/admin/version").json())
    ours = version("prefect")
    if numbers(theirs)[:2] != numbers(ours)[:2]:
        raise CheckFailedError(
            f"Prefect's server is {theirs} and the client is {ours}: install the same release on both (constraints.txt)"
        )
    late = request_prefect(api, "POST", "/flow_runs/count", json={"flow_runs": {"state": {"name": {"any_": ["Late"]}}}}).json()
    if late:
        raise CheckFailedError(
            f"{late} runs are late: no worker takes them; start a worker for each work pool (`prefect worker start --pool …`)"
        )
    return f"Prefect {theirs} answers; no run is late"


def schedules(api: str | None) -> str:
    """Check that a run appears for the schedule of a temporary deployment, which no worker takes."""
    flow = request_prefect(api, "POST", "/flows/", json={"name": f"{_TRIAL}-{uuid4().hex[:8]}"}).json()["id"]
    try:
        hourly = {"schedule": {"interval": 3600}, "active": True}
        trial = {"name": _TRIAL, "flow_id": flow, "schedules": [hourly]}
        deployment = request_prefect(api, "POST", "/deployments/", json=trial).json()["id"]
        try:
            began = time.monotonic()
            wanted = {"deployments": {"id": {"any_": [deployment]}}}
            while not request_prefect(api, "POST", "/flow_runs/count", json=wanted).json():
                if time.monotonic() - began > _SCHEDULE_TIMEOUT_S:
                    raise CheckFailedError(
                        f"Prefect creates no runs of a schedule within {_SCHEDULE_TIMEOUT_S:.0f} s: its server needs "
                        "SQLAlchemy below 2.1 (`make setup`), and its services running (`prefect server services start`)"
                    )
                time.sleep(0.5)
        finally:
            request_prefect(api, "DELETE", f"/deployments/{deployment}")
    finally:
        request_prefect(api, "DELETE", f"/flows/{flow}")
    return "a scheduled run appears"


def request_prefect(api: str | None, method: str, path: str, **arguments: Any) -> httpx.Response:
    """Send a request to Prefect's server."""
    if not api:
        raise NotApplicableError("PREFECT_API_URL is not set: flows start their own server, and nothing is scheduled")
    remedy = "start it (`make up` on one machine), or correct PREFECT_API_URL"
    with open_api(api.rstrip("/"), timeout_s=REQUEST_TIMEOUT_S) as client:
        found = request(method, api.rstrip("/") + path, remedy, client=client, **arguments)
    if found.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        raise CheckFailedError(
            f"Prefect refuses the request ({found.status_code}): set PREFECT_API_AUTH_STRING or PREFECT_API_KEY"
        )
    if found.is_error and method != "DELETE":
        raise CheckFailedError(
            f"Prefect answers {summarize(found)} to {path}: PREFECT_API_URL ends in /api; read its server's log"
        )
    return found


def clock(settings: Settings, api: str | None) -> str:
    """Compare the clock of this machine with the dates in the services' answers."""
    addresses = {
        "Label Studio": f"{settings.label_studio_url.rstrip('/')}/health",
        "MLflow": f"{settings.mlflow_url.rstrip('/')}/health",
    }
    if api:
        addresses["Prefect"] = f"{api.rstrip('/')}/health"
    if (endpoint := endpoint_of(open_store(settings.store))) is not None:
        addresses["the object store"] = endpoint
    skew_s = {}
    for name, url in addresses.items():
        try:
            stamp = httpx.get(url, timeout=REQUEST_TIMEOUT_S).headers.get("date")
        except httpx.HTTPError:
            continue  # another check reports it
        if stamp:
            skew_s[name] = abs((parsedate_to_datetime(stamp) - datetime.now(UTC)).total_seconds())
    if not skew_s:
        raise NotApplicableError("no service sends a date")
    worst = max(skew_s, key=lambda name: skew_s[name])
    sentence = f"the clock of {worst} differs by {skew_s[worst]:.0f} s from that of this machine"
    if skew_s[worst] > _LARGEST_SKEW_S:
        raise CheckFailedError(
            f"{sentence}, and S3 refuses signatures that are 15 minutes off: synchronize both with a time server (NTP)"
        )
    if skew_s[worst] > _SMALL_SKEW_S:
        raise CheckWarningError(f"{sentence}: synchronize both with a time server (NTP)")
    return sentence
