"""Commands on what people look at: the newest report, and the measures of everyone."""

import json
import os
import re
import sys
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from flows.cli.connection import connect, connect_stored
from flows.cli.console import DEMO, EngineName, Json, State, print_json, tell, tell_all
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
    settings = connect_stored(state)
    from flows.workspace import open_workspace

    place = newest_report(open_workspace(settings), state)
    typer.echo(place)
    if open_page and has_desktop() and isinstance(place, Path):
        webbrowser.open(place.resolve().as_uri())


@app.command()
def home(
    state: State = DEMO,
    *,
    page: Annotated[
        Path | None,
        typer.Option(help="Write the page, with the consensus beside it, instead of serving it.", show_default=False),
    ] = None,
    port: Annotated[int, typer.Option(min=0, help="Port to listen on; by default a free one.")] = 0,
) -> None:
    """Serve the page of a labeling manager on this computer until stopped: readers, agreement, disagreements, consensus.

    The page has what the databases hold and needs no running service. It shows faces: it listens on 127.0.0.1 only.

    Example: python -m flows home --page home.html
    """
    settings = connect_stored(state)
    from flows.home.links import service_links, stored_pages
    from flows.home.server import Pages, serve_home, write_home
    from flows.workspace import open_workspace

    workspace = open_workspace(settings)
    services = service_links(settings, os.environ.get("PREFECT_API_URL"))
    stored = stored_pages(workspace, state)
    if page is None:
        serve_home(lambda: workspace, Pages(services=services, stored=stored), port=port, tell=tell)
    else:
        write_home(workspace, page, services)
        tell(f"The page is in {page}; it shows people, keep it on this machine")


@app.command()
def measures(
    state: State = DEMO,
    *,
    out: Annotated[Path | None, typer.Option(help="Write the tables of everyone into this folder.", show_default=False)] = None,
    engine: EngineName = "local",
    as_json: Json = False,
) -> None:
    """Measure the stored clips that have no measures yet, and write the measures of everyone as tables.

    `ingest` measures new clips itself. The tables are those of `vitau measure`; they name people by their pseudonyms.
    Clips that cannot be measured are listed with their reasons, and the exit code is 1; all others are measured.

    Example: python -m flows measures --out measures
    """
    settings = connect(state)
    from flows.execution.executor import Engine
    from flows.measuring.export import export_measures
    from flows.measuring.missing import measure_missing
    from flows.workspace import open_workspace

    workspace = open_workspace(settings)
    found = measure_missing(workspace, Engine(engine))
    tell_all(f"Skipped {item.item[:12]}: {item.reason}" for item in found.skipped)
    facts: dict[str, Any] = {"measured_clips": found.measured, "skipped_clips": len(found.skipped)}
    if out is not None:
        written = export_measures(workspace, out)
        tell_all(f"Skipped {item.item}: {item.reason}" for item in written.skipped)
        facts |= {"people": written.people, "skipped": len(written.skipped)}
    if as_json:
        print_json(facts)
    else:
        tell(f"{found.measured} clips were measured now, {len(found.skipped)} could not be measured")
        if out is not None:
            tell(f"The tables of {facts['people']} people are in {out}; {facts['skipped']} people or visits have no measures")
    raise typer.Exit(1 if found.skipped else 0)


@app.command()
def figures(
    out: Annotated[Path, typer.Option(help="The JSON file to write.", show_default=False)],
    state: State = DEMO,
) -> None:
    """Write what a finished demo printed, its seconds, its bytes and its readers' agreement, as the documentation quotes them.

    Run it before the demo is run again: seconds are those of its last run.

    Example: python -m flows figures --out docs/figures/demo.json
    """
    from flows.studies.finished_demo import figures as found
    from flows.studies.finished_demo import read_summary

    summary = read_summary(state)
    settings = connect_stored(state)
    from flows.annotation.consensus import label_report
    from flows.cli.demo import describe
    from flows.cli.label_tables import render_label_report
    from flows.workspace import open_workspace
    from vitau.store.atomic import write_atomic

    labels = label_report(open_workspace(settings))
    agreement = "\n\n".join(render_label_report(labels).split("\n\n")[:2])
    written = found(state, summary, describe(summary, state), agreement, labels.labeled)
    write_atomic(out, json.dumps(written, indent=1) + "\n")
    tell(f"The figures are in {out}")


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
