"""The scan before an erasure is finished: every store, database, service and file of ours, for anything of the person."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from flows.erasure import databases, files, objects, services
from flows.erasure.traces import Traces
from flows.erasure.volumes import clean_volumes, vacuum_volumes
from flows.workspace import Workspace
from vitau.store import S3Store

HIDDEN = "•••"
SHOWN = 8
OTHER_S3 = (
    "the object store was not cleaned: if it is SeaweedFS, whose files keep names and bytes of deleted objects, clean it as "
    "docs/operators.md says under “Erased bytes”"
)


@dataclass(frozen=True, kw_only=True)
class Scan:
    """Places that were searched, place → number of traces, the traces with the person's names hidden, and other problems."""

    places: dict[str, int] = field(default_factory=dict)
    traces: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def look(self, place: str, found: Iterable[str], traces: Traces) -> None:
        """Search a place and keep what is found."""
        names = sorted(hide(name, traces) for name in found)
        self.places[place] = len(names)
        self.traces.extend(f"{place}: {name}" for name in names)


def compact(workspace: Workspace) -> list[str]:
    """Rewrite the databases and volumes of ours without deleted rows and bytes; return what could not be done."""
    url, state = workspace.settings.eraser_address, files.state_folder(workspace.settings)
    workspace.catalog.engine.dispose()  # its idle connections would keep the write-ahead log
    problems = databases.compact_postgresql(url) if url.startswith("postgresql") else []
    for path in sqlite_files(workspace):
        databases.compact_sqlite(path)
    if state is not None and (state / "seaweedfs").exists():
        vacuum_volumes(state)
        clean_volumes(state, workspace.store)
    elif isinstance(workspace.store, S3Store):
        problems.append(OTHER_S3)
    return problems


def scan(workspace: Workspace, traces: Traces) -> Scan:
    """Search everything for a person."""
    found, settings = Scan(), workspace.settings
    found.look("store", objects.traces_in_store(workspace, traces), traces)
    found.look("catalog and databases", traces_in_databases(workspace, traces), traces)
    found.look("Label Studio", services.traces_in_label_studio(workspace, traces), traces)
    found.look("MLflow", services.traces_in_mlflow(workspace, traces), traces)
    found.look("Prefect", services.traces_in_prefect(traces), traces)
    folder = files.state_folder(settings) or settings.work
    found.look("files", files.traces_in_files(folder, traces), traces)
    return found


def traces_in_databases(workspace: Workspace, traces: Traces) -> Iterator[str]:
    """Yield the tables with a trace, on PostgreSQL of the services' databases too."""
    url = workspace.settings.eraser_address
    if url.startswith("postgresql"):
        yield from databases.traces_in_postgresql(url, traces)
    for path in sqlite_files(workspace):
        yield from databases.traces_in_sqlite(path, traces)


def sqlite_files(workspace: Workspace) -> list[Path]:
    """Return the SQLite databases of the catalog and of the local services."""
    url, state = workspace.catalog.engine.url, files.state_folder(workspace.settings)
    own = [Path(url.database)] if url.get_backend_name() == "sqlite" and url.database else []
    if state is not None:
        places = ("label-studio/*.sqlite3", "mlflow/*.db", "prefect/*.db")
        own += [path for place in places for path in sorted(state.glob(place))]
    return own


def hide(name: str, traces: Traces) -> str:
    """Return the name of a place without the person's names: it reaches logs and states of runs."""
    for text in traces.texts:
        name = name.replace(text, HIDDEN)
    return name
