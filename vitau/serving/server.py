"""Run the page of ``vitau serve`` until it is stopped; the session's recordings are deleted then, unless they are kept."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Final

from vitau.processes import temporary_folder
from vitau.serving.app import MEBIBYTE, Access, make_app
from vitau.serving.guard import LOOPBACK
from vitau.serving.jobs import Jobs
from vitau.serving.work import measure

TOKEN: Final = "VITAU_SERVE_TOKEN"  # noqa: S105 - the name of the setting
MIN_TOKEN: Final = 24
"""Fewest characters of the token."""


def serve(
    *,
    host: str,
    port: int,
    model: Path | None,
    keep: Path | None,
    max_mb: int,
    hosts: tuple[str, ...],
    tell: Callable[[str], None],
) -> None:
    """Serve the page at ``host``:``port`` until it is stopped.

    Args:
        host: address to listen at; any but loopback needs a token in the environment.
        port: 0 for a free one, which is told.
        model: folder of a model that scores the recordings too.
        keep: folder that keeps recordings and results; without it they are deleted at the end.
        max_mb: largest recording, MB.
        hosts: further names by which browsers reach the server.
        tell: called with the address, once the server listens.

    Raises:
        ValueError: the token is missing or short, or the port is taken.
    """
    import uvicorn

    access = Access(host=host, token=read_token(host), max_bytes=max_mb * MEBIBYTE, hosts=hosts, kept=keep is not None)
    with session_folder(keep) as folder:
        app = make_app(Jobs(folder, partial(measure, model=model)), access)
        config = uvicorn.Config(app, host=host, port=port, log_level="warning", access_log=False, server_header=False)
        listening = config.bind_socket()
        listening.listen()  # a browser that is quicker than the start of the server waits
        shown = f"[{host}]" if ":" in host else host
        tell(f"http://{shown}:{listening.getsockname()[1]}/")
        server = uvicorn.Server(config)

        def end(_signal: int, _frame: FrameType | None) -> None:
            server.should_exit = True  # an exception would be lost where it meets a request, and the server would stay

        signal.signal(signal.SIGHUP, end)
        signal.signal(signal.SIGTERM, _interrupt)
        with suppress(KeyboardInterrupt):
            server.run(sockets=[listening])


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    """End as Ctrl-C does: uvicorn ends and raises the signal again, whose default action would leave the session's folder."""
    raise KeyboardInterrupt


def read_token(host: str) -> str | None:
    """Return the token of the environment; on loopback none is needed.

    Raises:
        ValueError: it is missing where other computers reach the page, or too short.
    """
    token = os.environ.get(TOKEN) or None
    if token is None and host not in LOOPBACK:
        raise ValueError(
            f"other computers reach {host}, and the page shows faces: set {TOKEN} to at least {MIN_TOKEN} characters"
        )
    if token is not None and len(token) < MIN_TOKEN:
        raise ValueError(f"{TOKEN} has {len(token)} characters: give at least {MIN_TOKEN}")
    return token


@contextmanager
def session_folder(keep: Path | None) -> Iterator[Path]:
    """Yield the private folder of a session: a new one that is deleted at the end, or a new one in ``keep``."""
    if keep is None:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        with temporary_folder(cache / "vitau" / "sessions") as folder:
            yield folder
        return
    keep.mkdir(parents=True, exist_ok=True, mode=0o700)
    if any(keep.iterdir()):
        raise ValueError(f"{keep} is not empty: give a new folder for this session")
    yield keep
