"""How far the labelling is, from the ledger: no service is asked."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from flows.annotation.consensus import agree
from flows.annotation.key_frames import stale
from flows.annotation.pull_answers import ADJUDICATOR, palsied
from flows.workspace import Workspace, write_whole
from labeling.progress import Progress, page, progress

LABELLING_PAGE: Final = "labelling.html"


def labelling_progress(workspace: Workspace) -> Progress:
    """Count who is labelled, who waits for whom, and what each reader still has to do."""
    catalog, readers = workspace.catalog, workspace.settings.readers
    rows = workspace.ledger()
    unreadable = [item for item in catalog.skipped() if item.item.startswith("project ")]
    agreed = agree(workspace, rows)
    return progress(
        agreed,
        rows,
        palsied(workspace),
        readers=readers,
        adjudicator=ADJUDICATOR,
        skipped=unreadable,
        stale=stale(workspace, rows),
    )


def write_labelling(workspace: Workspace, done: Progress, path: Path) -> None:
    """Write the progress as an HTML page, whole or not at all."""
    synthetic = any(subject.synthetic for subject in workspace.catalog.subjects())
    write_whole(path, page(done, at=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"), synthetic=synthetic))
