"""The receiver of Label Studio's hints: they say which project changed, which is then pulled. A lost hint loses nothing.

Label Studio waits one second, tries once and signs nothing: the answer comes at once, the pull afterwards, and a shared secret
in a header says who is calling.
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

from labeling.label_studio.storage import ACTIONS, SECRET_HEADER
from vitau.errors import LabelingError

MAX_BODY = 1 << 20
"""Bytes of a hint: Label Studio sends the project's configuration and the answer along, some ten thousand."""
QUIET_S = 2.0
"""A burst of hints is one pull, begun when this long nothing came …"""
AT_MOST_S = 30.0
"""… or when the first of them waited this long."""

log = logging.getLogger(__name__)


class Hints:
    """Collects the numbers of projects that changed and hands each on once per burst, in a thread of its own."""

    def __init__(self, hint: Callable[[int], None], *, quiet_s: float = QUIET_S, at_most_s: float = AT_MOST_S) -> None:
        self._hint, self._quiet_s, self._at_most_s = hint, quiet_s, at_most_s
        self._waiting: set[int] = set()
        self._changed = threading.Condition()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name="hints", daemon=True)

    def start(self) -> None:
        """Starts to hand on."""
        self._thread.start()

    def add(self, project: int) -> None:
        """Notes that a project changed; never waits."""
        with self._changed:
            self._waiting.add(project)
            self._changed.notify()

    def stop(self) -> None:
        """Hands on what is waiting, and ends."""
        with self._changed:
            self._stopped = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while projects := self._burst():
            for project in sorted(projects):
                try:
                    self._hint(project)
                except Exception:  # the next hint or poll makes it good; the receiver must not die of one pull
                    log.exception("what project %d hinted at could not be pulled; the next poll does it", project)

    def _burst(self) -> set[int]:
        """The projects of one burst of hints, empty when it is over."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopped)
            deadline = time.monotonic() + self._at_most_s
            while not self._stopped and (left_s := deadline - time.monotonic()) > 0:
                if not self._changed.wait(min(self._quiet_s, left_s)):
                    break
            projects, self._waiting = self._waiting, set()
            return projects


def make_app(secret: str, hint: Callable[[int], None], *, quiet_s: float = QUIET_S, at_most_s: float = AT_MOST_S) -> FastAPI:
    """The receiver: ``POST /webhook`` with the ``secret`` in its header; ``hint`` is called with the number of a project.

    It answers 202 to whoever knows the secret, whatever is said, 401 to anybody else, 413 to more than 1 MB, 400 to what is not
    JSON. ``hint`` may take its time.

    Raises:
        LabelingError: there is no secret.
    """
    if not secret:
        raise LabelingError("the receiver has no secret and would believe anybody; set VITAU_WEBHOOK_SECRET")
    hints = Hints(hint, quiet_s=quiet_s, at_most_s=at_most_s)

    @asynccontextmanager
    async def life(_: FastAPI) -> AsyncIterator[None]:
        hints.start()
        yield
        hints.stop()

    app = FastAPI(title="ViTAU hints", lifespan=life, docs_url=None, redoc_url=None, openapi_url=None)

    @app.post("/webhook")
    async def webhook(request: Request) -> JSONResponse:
        given = request.headers.get(SECRET_HEADER, "")
        if not hmac.compare_digest(given.encode(), secret.encode()):
            log.warning("refused a hint: the secret in %s is %s", SECRET_HEADER, "wrong" if given else "missing")
            return _reply(401, "wrong secret")
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                log.warning("refused a hint of more than %d bytes", MAX_BODY)
                return _reply(413, "too large")
        try:
            project = _project(json.loads(bytes(body)))
        except ValueError:
            log.warning("refused a hint that is not JSON")
            return _reply(400, "not JSON")
        if project is None:
            return _reply(202, "ignored")
        hints.add(project)
        return _reply(202, "noted")

    @app.get("/health")
    async def health() -> dict[str, str]:
        return {"status": "UP"}

    return app


def _project(said: object) -> int | None:
    """The number of the project whose answers changed; nothing for any other news."""
    if not isinstance(said, dict) or said.get("action") not in ACTIONS:
        return None
    project = said.get("project")
    number = project.get("id") if isinstance(project, dict) else None
    return number if isinstance(number, int) else None


def _reply(status: int, said: str) -> JSONResponse:
    return JSONResponse({"hint": said}, status_code=status)
