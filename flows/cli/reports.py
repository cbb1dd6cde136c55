"""``python -m flows report``: find the newest report, open it on a desktop, print where it is elsewhere."""

import os
import re
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from flows.cli.connection import connect
from flows.cli.console import DEMO, State
from vitau.errors import VitauError

if TYPE_CHECKING:  # SQLAlchemy and boto3, which `--help` need not load
    from flows.workspace import Workspace

app = typer.Typer()

_REPORT: Final = re.compile(r"reports/(?P<snapshot>[^/]+)/[^/]+-(?P<version>\d+)/report\.html")


class NoReportError(VitauError):
    """There is no report yet."""


@app.command()
def report(
    state: State = DEMO,
    *,
    open_page: Annotated[bool, typer.Option("--open/--no-open", help="Open the report in a browser, on a desktop.")] = True,
) -> None:
    """Print where the newest report is, and open it on a desktop.

    Example: python -m flows report --no-open
    """
    settings = connect(state)
    from flows.workspace import open_workspace

    place = newest_report(open_workspace(settings), state)
    typer.echo(place)
    if open_page and has_desktop() and isinstance(place, Path):
        webbrowser.open(place.resolve().as_uri())


def newest_report(workspace: "Workspace", state: Path) -> Path | str:
    """Return the path of the newest report, or its address if it is in an object store.

    The demo writes its report into the state folder, the deployment `rescore` into the store.

    Raises:
        NoReportError: there is none.
    """
    from labeling.sampling.tasks import store_folder

    stored = newest_key(workspace)
    folder = store_folder(workspace.settings.store)
    local = state / "report.html"
    if stored is not None and folder is None:
        return workspace.store.location(stored)
    files = [path for path in (local, folder / stored if folder is not None and stored is not None else local) if path.exists()]
    if not files:
        raise NoReportError("there is no report yet: run `python -m flows rescore SNAPSHOT`")
    return max(files, key=lambda path: path.stat().st_mtime)


def newest_key(workspace: "Workspace") -> str | None:
    """Return the key of the report about the newest snapshot, and of its newest version; None if the store has none."""
    order = {snapshot.digest: place for place, snapshot in enumerate(workspace.catalog.snapshots())}
    found = [match for key in workspace.store.keys("reports/") if (match := _REPORT.fullmatch(key))]
    newest = max(found, key=lambda match: (order.get(match["snapshot"], -1), int(match["version"])), default=None)
    return None if newest is None else newest.string


def has_desktop() -> bool:
    """Return whether a person looks at this terminal and a browser can open a window."""
    return sys.stdout.isatty() and (sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY"))))
