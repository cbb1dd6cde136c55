"""Deployed flows: what `infra/prefect.yaml` schedules, composed of the flows that an operator runs by hand.

Every flow may be killed anywhere and run again, and comes back with its schedule, so no flow is retried as a whole. The flows
that it is made of run inside its own run (`.fn`). A killed parent would leave a nested run behind, in whatever state it was.
Modules that load torch are imported where they are needed: the pull of labels every ten minutes does not need it.
"""

import json
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from prefect import flow, get_run_logger
from prefect.runtime import flow_run

from flows import erase as erasure
from flows.annotate import annotate
from flows.freeze import freeze, unknown_people
from flows.ingest import Layout, ingest, skip_list_name
from flows.promotion.retrain_trigger import RESCORE, SCORE_NEW, request, retrain_if_due
from flows.reports.run_summary import publish_summary
from flows.scoring.sources import is_settled, listing, watched_sources
from flows.settings import Size
from flows.workspace import PrivatePath, Workspace, open_workspace
from vitau.data import layout
from vitau.errors import CatalogError, StackError, VitauError
from vitau.schema import Skipped

HOUR_S: Final = 3600


@flow(name="ingest-new", flow_run_name="ingest-new", timeout_seconds=12 * HOUR_S, on_completion=[publish_summary])
def ingest_new() -> dict[str, int]:
    """Ingest the manifests, CK+ trees and folders of photos in the watched folder that are new, changed, or had skipped clips.

    People of unknown status are then scored by the deployment `score-new`.
    """
    workspace = open_workspace()
    counted = {"manifests": 0, "folders": 0, "unreadable": 0, "new_clips": 0, "skipped": 0}
    for source in unread_sources(workspace):
        counted["manifests" if source.layout is Layout.MANIFEST else "folders"] += 1
        try:
            summary = ingest.fn(PrivatePath(source.path), layout=source.layout, settings=workspace.settings)
        except CatalogError:  # of no single source
            raise
        except Exception as error:  # noqa: BLE001 - the others are ingested all the same
            workspace.catalog.set_skipped(skip_list_name(source.path), [unreadable(source, error)])
            counted["unreadable"] += 1
            continue
        counted["new_clips"] += summary.new_clips
        counted["skipped"] += len(summary.skipped)
        if not (summary.skipped if source.layout is Layout.MANIFEST else summary.failed):  # or they are tried again
            workspace.store.put(source.key, json.dumps({"clips": summary.clips}).encode())
    if counted["unreadable"] or counted["skipped"]:
        get_run_logger().warning("something was skipped; the catalog has the items and the reasons")
    if counted["new_clips"] and unknown_people(workspace):
        with suppress(StackError):  # only a hint: its schedule finds them too
            request(SCORE_NEW)
    return counted


@dataclass(frozen=True, kw_only=True)
class UnreadSource:
    """A source in the watched folder, and the key that marks its content as ingested; empty if it cannot be opened."""

    path: Path
    layout: Layout
    key: str


def unreadable(source: UnreadSource, error: Exception) -> Skipped:
    """Return the skipped item of a source that cannot be read; neither part of it names a file."""
    kind = "manifest" if source.layout is Layout.MANIFEST else "folder"
    reason = str(error) if isinstance(error, VitauError) else f"it cannot be ingested ({type(error).__name__})"
    for text in (str(source.path), source.path.name):
        reason = reason.replace(text, f"the {kind}")
    return Skipped(item=f"{kind} {skip_list_name(source.path)}", reason=reason)


def unread_sources(workspace: Workspace) -> list[UnreadSource]:
    """Return the sources of the watched folder that were not ingested completely; a folder that just changed waits."""
    watched = workspace.settings.watch
    if watched is None:
        get_run_logger().info("no folder is watched: set VITAU_WATCH")
        return []
    found = []
    for path, source_layout in watched_sources(watched):
        try:
            key, settled = source_key(path, source_layout)
        except OSError:  # its ingest reports it
            key, settled = "", True
        if settled and not (key and workspace.store.exists(key)):
            found.append(UnreadSource(path=path, layout=source_layout, key=key))
    return found


def source_key(source: Path, source_layout: Layout) -> tuple[str, bool]:
    """Return the key that marks a source as ingested, and whether its files are complete.

    The key depends on the content, so that a changed source is a new one. A manifest is complete at once.
    """
    if source_layout is Layout.MANIFEST:
        return layout.ingested_key(sha256(source.read_bytes()).hexdigest()), True
    digest, changed_s = listing(source, source_layout)
    return layout.ingested_key(digest), is_settled(changed_s)


@flow(name="score-unknown", flow_run_name="score-unknown", timeout_seconds=48 * HOUR_S, on_completion=[publish_summary])
def score_unknown() -> dict[str, Any]:
    """Score the people of unknown status without a score of the champion; reports by day of arrival go into the store."""
    from flows.scoring.watched import score_unknown_people

    found = score_unknown_people(open_workspace())
    return {"people": found.people, "new_people": found.new_people, "reports": list(found.reports)}


@flow(name="sync-labels", flow_run_name="sync-labels", timeout_seconds=HOUR_S, on_completion=[publish_summary])
def sync_labels() -> dict[str, Any]:
    """Push tasks, pull answers, compute the consensus; request a retraining if enough labels changed and the readers paused."""
    workspace = open_workspace()
    summary = annotate.fn(settings=workspace.settings)
    retraining = retrain_if_due(workspace)
    return {"new_answers": summary.new_answers, "labelled": summary.labeled, "retraining": retraining}


def retraining_name() -> str:
    """Return the name of a run that retrains: with the recipe size if it is not that of the settings."""
    return " ".join(["freeze-and-retrain", *filter(None, [flow_run.parameters.get("size")])])


@flow(
    name="freeze-and-retrain", flow_run_name=retraining_name, timeout_seconds=14 * 24 * HOUR_S, on_completion=[publish_summary]
)
def freeze_and_retrain(size: Size | None = None) -> dict[str, Any]:
    """Freeze a snapshot, train both models on it at a recipe size (by default of the settings), and request their scoring."""
    from flows.retrain import retrain

    settings = open_workspace().settings
    snapshot = freeze.fn(settings=settings)
    trained = retrain.fn(snapshot.digest, size or settings.size, settings=settings)
    request(RESCORE)
    return {"snapshot": snapshot.digest, "versions": {name: training.version for name, training in trained.items()}}


@flow(name="rescore-champion", flow_run_name="rescore-champion", timeout_seconds=48 * HOUR_S, on_completion=[publish_summary])
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


@flow(name="monitor-people", flow_run_name="monitor-people", timeout_seconds=12 * HOUR_S, on_completion=[publish_summary])
def monitor_people() -> dict[str, Any]:
    """Compare the people who came since the champion's snapshot with those in it; the most different ones go to the readers."""
    from flows.monitor import monitor

    found = monitor.fn(settings=open_workspace().settings)
    return {"asked_about": found.asked_about, "pushed": found.pushed, "report": found.report}


@flow(name="erase", flow_run_name="erase", timeout_seconds=HOUR_S, on_completion=[publish_summary])
def erase(subject: str) -> erasure.EraseSummary:
    """Erase a person by pseudonym.

    Raises:
        CatalogError: no subject has this pseudonym.
    """
    return erasure.erase.fn(subject, settings=open_workspace().settings)
