"""Webhook server for Label Studio: receive the number of a project that changed, and pull it. A lost request loses nothing.

Label Studio waits one second, tries once and signs nothing. The server therefore replies before it pulls. A shared secret in a
header authenticates the caller.
"""

import hmac
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

from labeling.label_studio.projects import ACTIONS, SECRET_HEADER
from vitau.errors import LabelingError

MAX_BODY = 1 << 20
"""Bytes of a request; Label Studio also sends the project's configuration and the answer, about ten thousand."""
QUIET_S = 2.0
"""Debounce: a burst of requests is one pull, which begins after so long without a request …"""
AT_MOST_S = 30.0
"""… or so long after the first request of the burst."""

MAX_PER_MINUTE = 3000
"""Authenticated requests; above it a request is not read, and all projects are pulled instead of those that it names."""
MAX_REFUSALS_PER_MINUTE = 60
"""Requests with a wrong secret that are answered with 401 and logged; the others get 429."""

log = logging.getLogger(__name__)


class Hints:
    """Debounced queue of changed projects: calls ``hint`` with each project once per burst, in its own thread.

    ``None`` stands for all projects.
    """

    def __init__(self, hint: Callable[[int | None], None], *, quiet_s: float = QUIET_S, at_most_s: float = AT_MOST_S) -> None:
        self._hint, self._quiet_s, self._at_most_s = hint, quiet_s, at_most_s
        self._waiting: set[int | None] = set()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="hints", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def add(self, project: int | None) -> None:
        """Add a project that changed; never blocks."""
        with self._changed:
            self._waiting.add(project)
            self._changed.notify()

    def stop(self) -> None:
        """Process the waiting projects, and stop the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while projects := self._burst():
            for project in [None] if None in projects else sorted(projects, key=str):
                try:
                    self._hint(project)
                except Exception:  # the server must survive a failed pull; the next poll repeats it
                    log.exception("project %s could not be pulled; the next poll repeats it", project or "(all)")

    def _burst(self) -> set[int | None]:
        """Wait for a burst and return its projects; none after ``stop``."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopped)
            deadline = time.monotonic() + self._at_most_s
            while not self._stopped and (left_s := deadline - time.monotonic()) > 0:
                if not self._changed.wait(min(self._quiet_s, left_s)):
                    break
            projects, self._waiting = self._waiting, set()
            return projects


class RateLimit:
    """Token bucket: ``per_minute`` requests a minute, and a fifth of them at once."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_s, self._most, self._clock = per_minute / 60, per_minute / 5, clock
        self._tokens, self._last = self._most, clock()

    def admits(self) -> bool:
        """Return whether a request is within the limit."""
        now = self._clock()
        self._tokens = min(self._most, self._tokens + (now - self._last) * self._per_s)
        self._last = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


def make_app(
    secret: str, hint: Callable[[int | None], None], *, quiet_s: float = QUIET_S, at_most_s: float = AT_MOST_S
) -> FastAPI:
    """Build the server: ``POST /webhook`` with the ``secret`` in its header leads to ``hint`` with the number of the project.

    Replies are 202 with the right secret, 401 with another or none, 413 above 1 MB, 400 if the body is not JSON, and 429 above
    the rate limits. ``hint`` runs in its own thread and may be slow. It is called with ``None`` (all projects) where a body
    was not read: no hint is lost, and polling finds the answers in any case.

    Raises:
        LabelingError: there is no secret.
    """
    if not secret:
        raise LabelingError("the webhook server has no secret and would accept any request; set VITAU_WEBHOOK_SECRET")
    hints = Hints(hint, quiet_s=quiet_s, at_most_s=at_most_s)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        hints.start()
        yield
        hints.stop()

    app = FastAPI(title="ViTAU hints", lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)

    limit, refusals = RateLimit(MAX_PER_MINUTE), RateLimit(MAX_REFUSALS_PER_MINUTE)

    @app.post("/webhook")
    async def webhook(request: Request) -> JSONResponse:
        given = request.headers.get(SECRET_HEADER, "")
        if not hmac.compare_digest(given.encode(), secret.encode()):
            if not refusals.admits():
                return _reply(429, "too many requests")
            log.warning("refused a request: the secret in %s is %s", SECRET_HEADER, "wrong" if given else "missing")
            return _reply(401, "wrong secret")
        if not limit.admits():
            hints.add(None)
            return _reply(429, "too many requests: all projects are pulled")
        return await _note(request, hints)

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "UP"}

    return app


async def _note(request: Request, hints: Hints) -> JSONResponse:
    """Read an authenticated request and add the project that it names."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY:
            log.warning("refused a request of more than %d bytes", MAX_BODY)
            return _reply(413, "too large")
    try:
        project = _project(json.loads(bytes(body)))
    except (ValueError, RecursionError):  # half a megabyte of "[" is nested more deeply than Python's stack
        log.warning("refused a request that is not JSON")
        return _reply(400, "not JSON")
    if project is None:
        return _reply(202, "ignored")
    hints.add(project)
    return _reply(202, "noted")


def _project(event: object) -> int | None:
    """Return the number of the project whose answers changed, ``None`` for any other event."""
    if not isinstance(event, dict) or event.get("action") not in ACTIONS:
        return None
    project = event.get("project")
    number = project.get("id") if isinstance(project, dict) else None
    return number if isinstance(number, int) and not isinstance(number, bool) else None


def _reply(status: int, result: str) -> JSONResponse:
    return JSONResponse({"hint": result}, status_code=status, headers={"Retry-After": "60"} if status == 429 else None)
