"""The retry policy of deployed runs: a service that is unavailable is tried again for some minutes, nothing else is."""

from typing import Any, Final

from prefect.runtime import deployment

from vitau.errors import ChecksumError, ObjectNotFoundError, RegistryError, StoreError

RETRY_DELAYS_S: Final = [10.0, 30.0, 90.0, 300.0]
"""Seconds before each retry: long enough for a service to restart, since no operator is watching."""


def is_service_unavailable(_task: Any, _run: Any, state: Any) -> bool:
    """Check whether a task failed because a service is unavailable: the ``retry_condition_fn`` of a task.

    Only deployed runs retry. At a terminal the error is shown at once.
    """
    if deployment.id is None:
        return False
    error = state.result(raise_on_failure=False)
    return isinstance(error, RegistryError | StoreError) and not isinstance(error, ObjectNotFoundError | ChecksumError)
