"""Prefect's REST API without its client, which takes seconds to import: log-in and protection against forged requests."""

import os
from collections.abc import Mapping
from typing import Final
from uuid import uuid4

import httpx

_TIMEOUT_S: Final = 30.0


def open_api(api_url: str, environ: Mapping[str, str] = os.environ, *, timeout_s: float = _TIMEOUT_S) -> httpx.Client:
    """Return a client of Prefect's API with the log-in of the environment; close it after use.

    Args:
        api_url: the address, which ends in ``/api``.
        environ: its ``PREFECT_API_KEY`` or ``PREFECT_API_AUTH_STRING`` is the log-in.
        timeout_s: of every request.
    """
    client = httpx.Client(base_url=api_url, timeout=timeout_s, headers={"Prefect-Csrf-Client": str(uuid4())})
    if key := environ.get("PREFECT_API_KEY"):
        client.headers["Authorization"] = f"Bearer {key}"
    elif log_in := environ.get("PREFECT_API_AUTH_STRING"):
        name, _, password = log_in.partition(":")
        client.auth = httpx.BasicAuth(name, password)
    client.event_hooks["request"].append(lambda request: _add_token(client, request))
    return client


def _add_token(client: httpx.Client, request: httpx.Request) -> None:
    """Add the server's token to a request that changes something; a server without the protection gives none."""
    if request.method in {"GET", "HEAD"}:
        return
    if "Prefect-Csrf-Token" not in client.headers:
        answer = client.get("/csrf-token", params={"client": client.headers["Prefect-Csrf-Client"]})
        try:
            client.headers["Prefect-Csrf-Token"] = answer.json()["token"]
        except (ValueError, KeyError, TypeError):  # the request itself gets the answer that explains it
            return
    request.headers["Prefect-Csrf-Token"] = client.headers["Prefect-Csrf-Token"]
