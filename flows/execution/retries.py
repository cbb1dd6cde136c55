"""How a deployed run meets a service that is away: it asks again, some minutes long. Nothing else is ever retried."""

from typing import Any, Final

from prefect.runtime import deployment

from vitau.errors import ChecksumError, ObjectNotFoundError, RegistryError, StoreError

DELAYS_S: Final = [10.0, 30.0, 90.0, 300.0]
"""Waits before the second try, the third …: a server that restarts is back, and nobody stands there to ask again."""


def service_away(_task: Any, _run: Any, state: Any) -> bool:
    """Say whether a task failed because a service did; only of deployed runs, for at a terminal one sentence comes at once."""
    if deployment.id is None:
        return False
    error = state.result(raise_on_failure=False)
    return isinstance(error, RegistryError | StoreError) and not isinstance(error, ObjectNotFoundError | ChecksumError)
