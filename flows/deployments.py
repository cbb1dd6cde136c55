"""Deployed flows: what `infra/prefect.yaml` schedules, composed of the flows that an operator runs by hand.

Every flow may be killed anywhere and run again, and comes back with its schedule, so no flow is retried as a whole. The flows
that it is made of run inside its own run (`.fn`). A killed parent would leave a nested run behind, in whatever state it was.
Modules that load torch are imported where they are needed: the pull of labels every ten minutes does not need it.
"""

import json
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from prefect import flow, get_run_logger

from flows import erase as erasure
from flows.annotate import annotate
from flows.freeze import freeze
from flows.ingest import ingest, skip_list_name
from flows.promotion.retrain_trigger import RESCORE, request, retrain_if_due
from flows.settings import Size
from flows.workspace import PrivatePath, Workspace, open_workspace
from vitau.data import layout
from vitau.errors import CatalogError, VitauError
from vitau.schema import Skipped

HOUR_S: Final = 3600


@flow(name="ingest-new", timeout_seconds=12 * HOUR_S)
def ingest_new() -> dict[str, int]:
    """Ingest every manifest in the watched folder that is new or changed, or that had skipped clips the last time."""
    workspace = open_workspace()
    counted = {"manifests": 0, "unreadable": 0, "new_clips": 0, "skipped": 0}
    for manifest in unread_manifests(workspace):
        counted["manifests"] += 1
        try:
            summary = ingest.fn(PrivatePath(manifest), settings=workspace.settings)
        except CatalogError:  # of no single manifest
            raise
        except Exception as error:  # noqa: BLE001 - the others are ingested all the same
            workspace.catalog.set_skipped(skip_list_name(manifest), [unreadable(manifest, error)])
            counted["unreadable"] += 1
            continue
        counted["new_clips"] += summary.new_clips
        counted["skipped"] += len(summary.skipped)
        if not summary.skipped:  # or they are tried again in the next hour
            workspace.store.put(read_key(manifest), json.dumps({"clips": summary.clips}).encode())
    if counted["unreadable"] or counted["skipped"]:
        get_run_logger().warning("something was skipped; the catalog has the items and the reasons")
    return counted


def unreadable(manifest: Path, error: Exception) -> Skipped:
    """Return the skipped item of a manifest that cannot be read; neither part of it names a file."""
    reason = str(error) if isinstance(error, VitauError) else f"it cannot be ingested ({type(error).__name__})"
    for text in (str(manifest), manifest.name):
        reason = reason.replace(text, "the manifest")
    return Skipped(item=f"manifest {skip_list_name(manifest)}", reason=reason)


def unread_manifests(workspace: Workspace) -> list[Path]:
    """Return the manifests of the watched folder that were not ingested completely."""
    watched = workspace.settings.watch
    if watched is None:
        get_run_logger().info("no folder is watched: set VITAU_WATCH")
        return []
    return [path for path in sorted(watched.rglob("*manifest.csv")) if not is_read(workspace, path)]


def is_read(workspace: Workspace, manifest: Path) -> bool:
    """Return whether a manifest was ingested completely; False for one that cannot be opened, which its ingest reports."""
    try:
        return workspace.store.exists(read_key(manifest))
    except OSError:
        return False


def read_key(manifest: Path) -> str:
    """Return the key that marks a manifest as ingested; it depends on the content, so a changed manifest is a new one."""
    return layout.ingested_key(sha256(manifest.read_bytes()).hexdigest())


@flow(name="sync-labels", timeout_seconds=HOUR_S)
def sync_labels() -> dict[str, Any]:
    """Push tasks, pull answers, compute the consensus; request a retraining if enough labels changed and the readers paused."""
    workspace = open_workspace()
    summary = annotate.fn(settings=workspace.settings)
    retraining = retrain_if_due(workspace)
    return {"new_answers": summary.new_answers, "labelled": summary.labeled, "retraining": retraining}


@flow(name="freeze-and-retrain", timeout_seconds=14 * 24 * HOUR_S)
def freeze_and_retrain(size: Size | None = None) -> dict[str, Any]:
    """Freeze a snapshot, train both models on it at a recipe size (by default of the settings), and request their scoring."""
    from flows.retrain import retrain

    settings = open_workspace().settings
    snapshot = freeze.fn(settings=settings)
    trained = retrain.fn(snapshot.digest, size or settings.size, settings=settings)
    request(RESCORE)
    return {"snapshot": snapshot.digest, "versions": {name: training.version for name, training in trained.items()}}


@flow(name="rescore-champion", timeout_seconds=48 * HOUR_S)
def rescore_champion() -> dict[str, Any]:
    """Score the people without a score of the champion, held out or without labels yet; the report goes into the store."""
    from flows.promotion.champion import approved_champion
    from flows.promotion.registered_models import REGIONS
    from flows.rescore import rescore

    workspace = open_workspace()
    snapshot = freeze.fn(settings=workspace.settings)
    with tempfile.TemporaryDirectory(prefix="vitau-report-") as folder:
        page = Path(folder) / "report.html"
        scored = rescore.fn(snapshot.digest, report=PrivatePath(page), waiting=True, settings=workspace.settings)
        champion = approved_champion(workspace, REGIONS)
        assert champion is not None, "it has just scored"
        version = champion.version
        for path in sorted(Path(folder).iterdir()):
            workspace.store.put(layout.report_key(snapshot.digest, REGIONS, version, path.name), path)
    report = layout.report_key(snapshot.digest, REGIONS, version, "report.html")
    return {"new_subjects": scored.new_subjects, "report": workspace.store.location(report)}


@flow(name="monitor-people", timeout_seconds=12 * HOUR_S)
def monitor_people() -> dict[str, Any]:
    """Compare the people who came since the champion's snapshot with those in it; the most different ones go to the readers."""
    from flows.monitor import monitor

    found = monitor.fn(settings=open_workspace().settings)
    return {"asked_about": found.asked_about, "pushed": found.pushed, "report": found.report}


@flow(name="erase", flow_run_name="erase", timeout_seconds=HOUR_S)
def erase(subject: str) -> erasure.EraseSummary:
    """Erase a person by pseudonym.

    Raises:
        CatalogError: no subject has this pseudonym.
    """
    return erasure.erase.fn(subject, settings=open_workspace().settings)
