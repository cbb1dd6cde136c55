"""Links of the manager's page: the services that answer, and the newest pages of this installation."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Final

import httpx

from flows.settings import Settings
from flows.workspace import Workspace
from vitau.errors import StoreError

_TIMEOUT_S: Final = 1.0
_MLFLOW_RUNS: Final = "/#/experiments?workflowType=machine_learning"
_REPORT: Final = re.compile(r"reports/(?P<snapshot>[^/]+)/[^/]+-(?P<version>\d+)/report\.html")
_DRIFT: Final = re.compile(r"monitoring/[^/]+/[^/]+\.html")
_WRITTEN: Final = re.compile(rb"\d{4}-\d\d-\d\d \d\d:\d\d UTC")


def service_links(settings: Settings, prefect_api: str | None) -> dict[str, str]:
    """Return the addresses of the pages of the services that answer now, by name."""
    pages = {"Label Studio": settings.label_studio_url, "MLflow": settings.mlflow_url + _MLFLOW_RUNS}
    if prefect_api is not None:
        pages["Prefect"] = prefect_api.removesuffix("/api")
    return {name: address for name, address in pages.items() if _answers(address.partition("#")[0])}


def stored_pages(workspace: Workspace, state: Path) -> Mapping[str, Callable[[], bytes | None]]:
    """Return functions that read the newest report and the newest drift page; each returns ``None`` while there is none."""
    return {
        "newest report": partial(newest_report, workspace, state),
        "drift page": partial(newest_drift_page, workspace, {}),
    }


def newest_report(workspace: Workspace, state: Path) -> bytes | None:
    """Return the report of the newest snapshot and version in the store, else the one of the demo in the state folder."""
    order = {snapshot.digest: place for place, snapshot in enumerate(workspace.catalog.snapshots())}
    found = [match for key in workspace.store.keys("reports/") if (match := _REPORT.fullmatch(key))]
    if found:
        newest = max(found, key=lambda match: (order.get(match["snapshot"], -1), int(match["version"])))
        return _read(workspace, newest.string)
    local = state / "report.html"
    return local.read_bytes() if local.exists() else None


def newest_drift_page(workspace: Workspace, written: dict[str, bytes]) -> bytes | None:
    """Return the drift page that was written last, by the time on it.

    Args:
        workspace: the objects.
        written: key of a page → the time on it; filled here, so that a page is read once: pages never change.
    """
    for key in workspace.store.keys("monitoring/"):
        if _DRIFT.fullmatch(key) and key not in written:
            time = _WRITTEN.search(_read(workspace, key) or b"")
            written[key] = time[0] if time else b""
    return _read(workspace, max(written, key=written.__getitem__)) if written else None


def _read(workspace: Workspace, key: str) -> bytes | None:
    try:
        return workspace.store.get(key)
    except StoreError:  # deleted by an erasure, or damaged: `fsck` names it
        return None


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, timeout=_TIMEOUT_S).status_code < httpx.codes.INTERNAL_SERVER_ERROR
    except httpx.HTTPError:
        return False
