"""Serve the labeling manager's page on loopback: every request gathers it anew."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request, Response
from fastapi.responses import HTMLResponse

from flows.annotation.consensus import resolve_consensus
from flows.annotation.key_frames import cases
from flows.home.consensus_files import consensus_csv, consensus_rows, consensus_xlsx
from flows.home.page import gather_home, render_home
from flows.workspace import Workspace
from labeling.consensus.severity import case_severities
from labeling.consensus.standing_answers import standing_answers
from vitau.errors import VitauError
from vitau.serving.guard import LOOPBACK, guard

CSV: Final = "consensus.csv"
XLSX: Final = "consensus.xlsx"
_XLSX_TYPE: Final = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


@dataclass(frozen=True, kw_only=True)
class Pages:
    """The other pages: addresses of running services, and functions that read pages of this installation.

    A function returns ``None`` while there is no such page.
    """

    services: Mapping[str, str]
    stored: Mapping[str, Callable[[], bytes | None]]


def make_app(open_workspace: Callable[[], Workspace], pages: Pages) -> FastAPI:
    """Build the application; a request that names another host is refused, against DNS rebinding."""
    app = FastAPI(title="ViTAU labeling", docs_url=None, redoc_url=None, openapi_url=None)

    guard(app, _refusal)

    @app.get("/")
    def home() -> Response:
        stored = {name: f"/{name.replace(' ', '-')}" for name, read in pages.stored.items() if read() is not None}
        try:
            found = gather_home(open_workspace(), {**stored, **pages.services})
        except VitauError as error:
            return Response(f"Error: {error}", 503, media_type="text/plain")
        return HTMLResponse(render_home(found, files={CSV: f"/{CSV}", XLSX: f"/{XLSX}"}))

    @app.get("/consensus.csv")
    def csv() -> Response:
        return Response(consensus_csv(_rows(open_workspace())), media_type="text/csv")

    @app.get("/consensus.xlsx")
    def xlsx() -> Response:
        return Response(consensus_xlsx(_rows(open_workspace())), media_type=_XLSX_TYPE)

    @app.get("/{name}")
    def page(name: str) -> Response:
        read = {stored.replace(" ", "-"): read for stored, read in pages.stored.items()}.get(name)
        content = None if read is None else read()
        return Response("there is no such page", 404) if content is None else HTMLResponse(content)

    return app


async def _refusal(request: Request) -> Response | None:
    named = request.url.hostname in LOOPBACK
    return None if named else HTMLResponse("this page is on 127.0.0.1 only", 421)


def _rows(workspace: Workspace) -> list[list[str]]:
    rows, _ = workspace.newest_answers()
    agreed = resolve_consensus(workspace, rows)
    return consensus_rows(agreed, cases(workspace), case_severities(standing_answers(rows), agreed.labels))


def write_home(workspace: Workspace, path: Path, links: Mapping[str, str]) -> None:
    """Write the page as a file, and the consensus beside it; only their owner can read them."""
    from vitau.store.atomic import write_atomic

    found = gather_home(workspace, links)
    files = {CSV: path.with_name(f"{path.stem}-{CSV}"), XLSX: path.with_name(f"{path.stem}-{XLSX}")}
    write_atomic(files[CSV], consensus_csv(found.rows))
    write_atomic(files[XLSX], consensus_xlsx(found.rows))
    write_atomic(path, render_home(found, files={name: file.name for name, file in files.items()}, refresh_s=None))


def serve_home(open_workspace: Callable[[], Workspace], pages: Pages, *, port: int, tell: Callable[[str], None]) -> None:
    """Serve the page on 127.0.0.1 until it is stopped; ``tell`` gets the address once the server listens.

    Args:
        open_workspace: returns a workspace with the newest rows.
        pages: the other pages.
        port: 0 for a free one.
        tell: called with the address.

    Raises:
        ValueError: the port is taken.
    """
    import socket
    from contextlib import suppress

    import uvicorn

    app = make_app(open_workspace, pages)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, server_header=False))
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(("127.0.0.1", port))
        except OSError as error:
            raise ValueError(f"port {port} is taken ({error.strerror}): give another one with --port") from error
        listening.listen()
        tell(f"http://127.0.0.1:{listening.getsockname()[1]}/")
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listening])
