"""REST requests of the checks."""

from typing import Any, Final

import httpx

from flows.doctor.findings import CheckFailedError

REQUEST_TIMEOUT_S: Final = 8.0
"""Seconds that a service may take to answer."""


def request(method: str, url: str, way_out: str, *, client: httpx.Client | None = None, **arguments: Any) -> httpx.Response:
    """Send a request, through a client that logs in if one is given; a service that does not answer fails the check.

    Raises:
        CheckFailedError: there is no answer.
    """
    try:
        send = httpx.request if client is None else client.request
        return send(method, url, timeout=REQUEST_TIMEOUT_S, **arguments)
    except httpx.HTTPError as error:
        raise CheckFailedError(f"nothing answers at {url} ({type(error).__name__}): {way_out}") from error


def summarize(response: httpx.Response) -> str:
    """Return the status and the start of an answer in one line."""
    return f"{response.status_code}: {' '.join(response.text.split())[:200]}"
