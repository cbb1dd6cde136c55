"""Client of Label Studio: connect, retry requests, and translate errors into one sentence."""

import json
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import httpx

from vitau.errors import LabelingError

RETRY_FOR_S: Final = 30.0
_RETRIED_STATUS: Final = frozenset({429, 502, 503, 504})
_FIRST_WAIT_S: Final = 0.5
_LONGEST_WAIT_S: Final = 8.0


class RetryTransport(httpx.BaseTransport):
    """Transport that retries a request with exponential backoff until it is answered or ``retry_for_s`` are over.

    Every idempotent request is retried. A POST is retried only if no connection was made, because it may have arrived.
    """

    def __init__(
        self,
        inner: httpx.BaseTransport,
        *,
        retry_for_s: float = RETRY_FOR_S,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner, self._retry_for_s, self._sleep, self._clock = inner, retry_for_s, sleep, clock

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send ``request``; raise what the last attempt raised."""
        deadline, wait_s = self._clock() + self._retry_for_s, _FIRST_WAIT_S
        while True:
            last = self._clock() + wait_s > deadline
            try:
                response = self._inner.handle_request(request)
            except (httpx.ConnectError, httpx.ConnectTimeout):
                if last:
                    raise
            except httpx.TransportError:
                if last or request.method == "POST":
                    raise
            else:
                if last or request.method == "POST" or response.status_code not in _RETRIED_STATUS:
                    return response
                response.close()
            self._sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def close(self) -> None:
        """Close the connections of the inner transport."""
        self._inner.close()


@contextmanager
def readable_errors() -> Iterator[None]:
    """Raise errors of the SDK and of its transport as one sentence, without the header that holds the token.

    Raises:
        LabelingError: Label Studio refused or did not answer a request.
    """
    from label_studio_sdk.core.api_error import ApiError  # four seconds that `--help` need not cost

    try:
        yield
    except ApiError as error:
        if error.status_code in {401, 403}:
            raise LabelingError("Label Studio refuses the token; take the one from its page Account & Settings") from error
        if error.status_code == 404 and "No Project" in str(error.body):
            raise LabelingError(
                "a project was deleted in Label Studio during this run; its answers stand: run again to create it anew"
            ) from error
        body = json.dumps(error.body, default=str) if isinstance(error.body, Mapping) else str(error.body)
        raise LabelingError(f"Label Studio answers {error.status_code}: {body[:300]}; see its log") from error
    except httpx.HTTPError as error:
        raise LabelingError(
            f"Label Studio does not answer ({type(error).__name__}); is it running, at this address?"
        ) from error


def connect(
    url: str,
    token: str,
    *,
    timeout_s: float = 60.0,
    retry_for_s: float = RETRY_FOR_S,
    transport: httpx.BaseTransport | None = None,
) -> Any:
    """Return a client of the Label Studio at ``url``; several threads may share it.

    Args:
        url: the address of Label Studio.
        token: an access token, from its page Account & Settings.
        timeout_s: time limit of one attempt of a request.
        retry_for_s: how long a request is retried, for example while the server restarts.
        transport: sends a single attempt; ``httpx.HTTPTransport()`` by default.

    Raises:
        LabelingError: nothing answers at ``url``, or the token is wrong.
    """
    from label_studio_sdk import LabelStudio  # four seconds that `--help` need not cost

    retrying = RetryTransport(transport or httpx.HTTPTransport(), retry_for_s=retry_for_s)
    requests = httpx.Client(timeout=timeout_s, follow_redirects=True, transport=retrying)
    # the SDK's own retries would repeat an import that has arrived
    client = LabelStudio(base_url=url.rstrip("/"), api_key=token, httpx_client=requests, max_retries=0)
    weakref.finalize(client, requests.close)  # the SDK leaves its connections open
    try:
        with readable_errors():
            client.users.whoami()
    except LabelingError as error:
        raise LabelingError(f"{url}: {error}") from error.__cause__
    return client


def get_task(client: Any, task: int) -> Any:
    """Return a task as it is now, or ``None`` if it was deleted."""
    return _none_if_deleted(client.tasks.get, task)


def delete_task(client: Any, task: int) -> None:
    """Delete a task; do nothing if it was deleted before."""
    _none_if_deleted(client.tasks.delete, task)


def _none_if_deleted(call: Callable[[str], Any], task: int) -> Any:
    from label_studio_sdk.core.api_error import ApiError

    try:
        return call(str(task))
    except ApiError as error:
        if error.status_code != 404:
            raise
        return None
