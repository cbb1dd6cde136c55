"""Waiting for a server that is slow, restarting or away for a moment, wherever asking twice does no harm."""

import time
from collections.abc import Callable

import httpx

PATIENCE_S = 30.0
_BUSY = {429, 502, 503, 504}
_LONGEST_S = 8.0


class PatientTransport(httpx.BaseTransport):
    """Sends a request again, after ever longer waits, until it is answered or ``patience_s`` are over.

    A POST is sent again only if the server was never reached: whoever imports something must look first what arrived.
    """

    def __init__(
        self,
        inner: httpx.BaseTransport,
        *,
        patience_s: float = PATIENCE_S,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._inner, self._patience_s, self._sleep, self._clock = inner, patience_s, sleep, clock

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Sends ``request``; what is raised at last is what the last attempt raised."""
        deadline, wait_s = self._clock() + self._patience_s, 0.5
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
                if last or request.method == "POST" or response.status_code not in _BUSY:
                    return response
                response.close()
            self._sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_S)

    def close(self) -> None:
        """Closes the connections below."""
        self._inner.close()
