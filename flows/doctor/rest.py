"""REST requests of the checks."""

import json
import time
from textwrap import shorten
from typing import Any, Final

import httpx

from flows.doctor.findings import CheckFailedError

REQUEST_TIMEOUT_S: Final = 8.0
"""Seconds that a service may take to answer."""
_NUM_TRIES: Final = 5
_PAUSE_S: Final = 1.0


def request(method: str, url: str, way_out: str, *, client: httpx.Client | None = None, **arguments: Any) -> httpx.Response:
    """Send a request, through a client that logs in if one is given; a service that does not answer fails the check.

    A service that answers 503, such as Prefect while its database is locked, is asked again for a few seconds.

    Raises:
        CheckFailedError: there is no answer.
    """
    try:
        send = httpx.request if client is None else client.request
        for _ in range(_NUM_TRIES - 1):
            reply = send(method, url, timeout=REQUEST_TIMEOUT_S, **arguments)
            if reply.status_code != httpx.codes.SERVICE_UNAVAILABLE:
                return reply
            time.sleep(_PAUSE_S)
        return send(method, url, timeout=REQUEST_TIMEOUT_S, **arguments)
    except httpx.HTTPError as error:
        raise CheckFailedError(f"nothing answers at {url} ({type(error).__name__}): {way_out}") from error


def summarize(response: httpx.Response) -> str:
    """Return the status and the message of an answer in one line; of a page that is no message, its beginning in words."""
    return f"{response.status_code}: {shorten(' '.join(message(response).split()), 200, placeholder=' …')}"


def message(response: httpx.Response) -> str:
    """Return the message in a JSON answer, without its quotes and braces, or the text of another one."""
    try:
        found = response.json()
    except ValueError:
        return response.text
    names = ("detail", "message", "error", "exception_message")
    found = next((found[name] for name in names if isinstance(found, dict) and found.get(name)), found)
    return found if isinstance(found, str) else json.dumps(found, ensure_ascii=False)
