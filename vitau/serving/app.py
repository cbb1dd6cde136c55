"""The web application of ``vitau serve``: upload, progress, report, downloads; HTTP interface described at ``/docs``.

It listens on loopback and keeps everything in one private folder. Other web pages cannot use it: a request must name this host
(against DNS rebinding), and one that changes anything must come from this page (against cross-site requests).
"""

import hmac
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final
from urllib.parse import urlsplit

from fastapi import FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import FileResponse, HTMLResponse
from fastapi.security import HTTPBasic
from pydantic import BaseModel

import vitau
from vitau.errors import quoted
from vitau.pages import page_environment
from vitau.serving.guard import LOOPBACK, guard
from vitau.serving.jobs import Job, Jobs, State

HERE: Final = Path(__file__).parent
MEBIBYTE: Final = 1 << 20
DOWNLOADS: Final = {
    "measures.csv": "text/csv",
    "measures.xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "people.csv": "text/csv",
    "series.csv": "text/csv",
    "overlay.mp4": "video/mp4",
}
"""Files of a finished recording that can be downloaded, and their types."""
VIDEO: Final = "overlay.mp4"
_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Recording(BaseModel):
    """One recording of this session."""

    number: int
    name: str
    state: State
    done: int
    total: int
    reason: str
    report: str | None
    files: dict[str, str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Access:
    """The requests that the page admits.

    Attributes:
        host: name or address at which the server listens.
        token: password of HTTP Basic, for any user name; ``None`` on loopback, where only this computer reaches the page.
        max_bytes: largest recording.
        hosts: further names of the server in a browser's address line.
        kept: whether recordings are kept when the server stops.
    """

    host: str
    token: str | None
    max_bytes: int
    hosts: tuple[str, ...] = ()
    kept: bool = False

    def names(self, host: str | None) -> bool:
        """Return whether a browser that calls the server by this name is on the right page."""
        allowed = {self.host, *self.hosts} | (LOOPBACK if self.host in LOOPBACK else set())
        return host is not None and host in allowed


def make_app(jobs: Jobs, access: Access) -> FastAPI:
    """Build the application on the recordings of a session.

    Replies are 421 for another host, 403 for a request from another page, 401 without the token, 404 for an unknown recording,
    409 while it is not finished, 413 above ``access.max_bytes``.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        jobs.start()
        yield
        jobs.stop()

    app = FastAPI(
        title="ViTAU",
        summary="Measure recordings of faces. For research only; not a medical device.",
        version=vitau.__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    guard(app, partial(_refusal, access=access))
    _pages(app, access)
    _recordings(app, jobs, access)
    _results(app, jobs)
    return app


async def _refusal(request: Request, access: Access) -> Response | None:
    """Return the reply to a request that is refused, ``None`` for one that is not."""
    origin = request.headers.get("origin")
    if not access.names(request.url.hostname):
        return Response(f"this is not {quoted(request.url.hostname)}: use the address that was printed", 421)
    if request.method not in _SAFE and origin is not None and urlsplit(origin).netloc != request.url.netloc:
        return Response("requests from other pages are refused", 403)
    if access.token is not None:
        try:
            given = await HTTPBasic(auto_error=False)(request)
        except HTTPException:  # malformed
            given = None
        if given is None or not hmac.compare_digest(given.password.encode(), access.token.encode()):
            return Response("give the token as the password", 401, {"WWW-Authenticate": 'Basic realm="ViTAU"'})
    return None


def _pages(app: FastAPI, access: Access) -> None:
    templates = page_environment(HERE)
    page = templates.get_template("page.html.j2").render(
        max_mib=access.max_bytes // MEBIBYTE, kept=access.kept, version=vitau.__version__, synthetic=False
    )

    @app.get("/", response_class=HTMLResponse, include_in_schema=False)
    def index() -> str:
        return page

    @app.get("/page.js", include_in_schema=False)
    def script() -> FileResponse:
        return FileResponse(HERE / "page.js", media_type="text/javascript")

    @app.get("/docs", response_class=HTMLResponse, include_in_schema=False)
    def docs(request: Request) -> str:  # FastAPI's own page loads its scripts from another host
        return templates.get_template("docs.html.j2").render(
            operations=list(operations(app.openapi())),
            address=str(request.base_url).rstrip("/"),
            needs_token=access.token is not None,
            synthetic=False,
        )


def operations(described: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the operations of an OpenAPI description: method, path, description and parameters."""
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            yield {
                "method": method.upper(),
                "path": path,
                "description": operation.get("description", operation["summary"]),
                "parameters": operation.get("parameters", []),
            }


def _recordings(app: FastAPI, jobs: Jobs, access: Access) -> None:
    @app.post("/recordings", status_code=202)
    async def upload(
        request: Request,
        name: Annotated[str, Query(description="file name; its suffix names the format", max_length=255)],
        mirrored: Annotated[bool, Query(description="a mirror image, as of a phone's front camera")] = False,
        video: Annotated[bool, Query(description="write the overlay video too")] = True,
    ) -> Recording:
        """Upload a photo or clip as the body of the request; it is measured in its turn."""
        job = jobs.new(name, {"mirrored": mirrored, "video": video})
        try:
            await _receive(request, job.recording, access.max_bytes)
        except BaseException:
            jobs.drop(job)
            raise
        jobs.submit(job)
        return describe(job)

    @app.get("/recordings")
    def recordings() -> list[Recording]:
        """List the recordings of this session, oldest first."""
        return [describe(job) for job in jobs.all()]

    @app.get("/recordings/{number}")
    def recording(number: int) -> Recording:
        """Return the state of a recording; done of total frames are measured."""
        return describe(job_of(jobs, number))

    @app.delete("/recordings/{number}", status_code=204)
    def forget(number: int) -> None:
        """Delete a recording and everything that was measured."""
        job_of(jobs, number)
        jobs.forget(number)


def _results(app: FastAPI, jobs: Jobs) -> None:
    @app.get("/recordings/{number}/report", response_class=HTMLResponse)
    def report(number: int) -> FileResponse:
        """Return the report, one HTML page that loads nothing."""
        return FileResponse(result_of(jobs, number, "report.html"), media_type="text/html")

    @app.get("/recordings/{number}/scores", response_class=HTMLResponse)
    def scores(number: int) -> FileResponse:
        """Return the report of the model's scores, where the server was started with a model."""
        return FileResponse(result_of(jobs, number, "scores/report.html"), media_type="text/html")

    @app.get("/recordings/{number}/files/{name}")
    def download(number: int, name: str) -> FileResponse:
        """Download a table or the overlay video."""
        if name not in DOWNLOADS:
            raise HTTPException(404, f"there is no file {quoted(name)}; there are {', '.join(DOWNLOADS)}")
        return FileResponse(result_of(jobs, number, name), media_type=DOWNLOADS[name], filename=name)


def job_of(jobs: Jobs, number: int) -> Job:
    """Return a recording of the session, or reply 404."""
    job = jobs.get(number)
    if job is None:
        raise HTTPException(404, f"this session has no recording {number}")
    return job


def result_of(jobs: Jobs, number: int, name: str) -> Path:
    """Return a file of the results of a recording, or reply 404 or 409."""
    job = job_of(jobs, number)
    path = path_of(job, name)
    if job.state is not State.DONE:
        raise HTTPException(409, f"recording {number} is {job.state}: its results come when it is done")
    if not path.is_file():
        raise HTTPException(404, f"recording {number} has no {name}")
    return path


def path_of(job: Job, name: str) -> Path:
    """Return the path of a result; the one video of a recording has the recording's name."""
    return next((job.results / "videos").glob("*.mp4"), job.results / name) if name == VIDEO else job.results / name


async def _receive(request: Request, path: Path, max_bytes: int) -> None:
    """Write the body of a request to a file, without holding it in memory."""
    size = 0
    with path.open("xb") as file:
        async for chunk in request.stream():
            size += len(chunk)
            if size > max_bytes:
                raise HTTPException(413, f"the recording is larger than {max_bytes // MEBIBYTE} MB: cut it, or raise --max-mb")
            file.write(chunk)
    if size == 0:
        raise HTTPException(400, "the recording is empty: choose another file")


def describe(job: Job) -> Recording:
    """Return what a browser learns of a recording."""
    here, finished = f"/recordings/{job.number}", job.state is State.DONE
    files = {name: f"{here}/files/{name}" for name in DOWNLOADS if finished and path_of(job, name).is_file()}
    if finished and (job.results / "scores/report.html").is_file():
        files["scores"] = f"{here}/scores"
    return Recording(
        number=job.number,
        name=job.name,
        state=job.state,
        done=job.done,
        total=job.total,
        reason=job.reason,
        report=f"{here}/report" if finished and (job.results / "report.html").is_file() else None,
        files=files,
    )
