"""How the checks ask a service."""

from typing import Any, Final

import httpx

from flows.doctor.findings import AilmentError

ANSWER_S: Final = 8.0
"""Seconds within which a service must answer."""


def answer(method: str, url: str, way_out: str, **arguments: Any) -> httpx.Response:
    """Ask a service; one that does not answer is an ailment."""
    try:
        return httpx.request(method, url, timeout=ANSWER_S, **arguments)
    except httpx.HTTPError as error:
        raise AilmentError(f"nothing answers at {url} ({type(error).__name__}): {way_out}") from error


def plain(response: httpx.Response) -> str:
    """Say in a few words what a service answered."""
    return f"{response.status_code}: {' '.join(response.text.split())[:200]}"
