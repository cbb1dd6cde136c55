"""Refuse requests to a page that shows faces, and add the security headers to every reply."""

from collections.abc import Awaitable, Callable
from typing import Final

from fastapi import FastAPI, Request, Response

LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def guard(app: FastAPI, refusal: Callable[[Request], Awaitable[Response | None]]) -> None:
    """Send the reply of ``refusal`` where there is one, else the application's; add the security headers to each.

    Args:
        app: the application.
        refusal: returns the reply to a request that is refused, ``None`` for one that is not.
    """

    @app.middleware("http")
    async def guarded(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
        response = await refusal(request) or await call_next(request)
        response.headers.update({name: value for name, value in HEADERS.items() if name not in response.headers})
        return response
