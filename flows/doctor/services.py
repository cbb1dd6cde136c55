"""Checks of MLflow, Prefect and the clocks, by their REST interfaces. What is made there on trial is removed again."""

import os
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from typing import Any, Final
from uuid import uuid4

import httpx

from flows.doctor.asking import ANSWER_S, answer, plain
from flows.doctor.findings import AilmentError, NotApplicableError, SymptomError
from flows.doctor.machine import numbers
from flows.doctor.storage import endpoint_of
from flows.settings import Settings
from vitau.store import open_store

_SCHEDULED_S: Final = 15.0
_SKEW_S: Final = 30.0
_TOO_FAR_S: Final = 600.0  # S3 refuses signatures from 900 on
_TRIAL: Final = "vitau-doctor"


def mlflow(settings: Settings) -> str:
    """See whether it answers, and whether a champion's files can be read."""
    from flows.promotion.registered_models import REGIONS  # and with it Prefect: seconds

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
    signed: dict[str, Any] = {}
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
            stamp = httpx.get(url, timeout=ANSWER_S).headers.get("date")
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
