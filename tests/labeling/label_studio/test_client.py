"""Retries against a real server on loopback that is away, slow or busy; the waits are recorded, not waited."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from labeling.label_studio.client import RetryTransport


class Scripted(ThreadingHTTPServer):
    """Server that answers each request with the next reply: a status, or a connection closed without an answer."""

    def __init__(self, *replies: int | None) -> None:
        self.replies, self.received = list(replies), []
        super().__init__(("127.0.0.1", 0), Handler)


class Handler(BaseHTTPRequestHandler):
    server: Scripted

    def do_GET(self) -> None:
        self.server.received.append(self.command)
        reply = self.server.replies.pop(0)
        if reply is None:
            self.close_connection = True
            return
        self.send_response(reply)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator:
    servers = []

    def make(*replies: int | None) -> Scripted:
        server = Scripted(*replies)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def request_status():
    """Send a request that is retried for 10 s, on a clock that only its waits advance; return the status, record the waits."""
    waits: list[float] = []

    def send(method: str, port: int) -> int:
        transport = RetryTransport(httpx.HTTPTransport(), retry_for_s=10, sleep=waits.append, clock=lambda: sum(waits))
        with httpx.Client(transport=transport) as client:
            return client.request(method, f"http://127.0.0.1:{port}/").status_code

    send.waits = waits
    return send


@pytest.mark.parametrize("reply", [503, 429, None])
def test_a_busy_server_is_retried_with_exponential_backoff(serve, request_status, reply):
    server = serve(reply, reply, reply, 200)
    assert request_status("GET", server.server_port) == 200
    assert request_status.waits == [0.5, 1, 2]


def test_retries_end_after_the_time_limit(serve, request_status):
    server = serve(*[503] * 10)
    assert request_status("GET", server.server_port) == 503
    assert request_status.waits == [0.5, 1, 2, 4]


@pytest.mark.parametrize("reply", [503, None])
def test_a_post_that_may_have_arrived_is_not_retried(serve, request_status, reply):
    server = serve(reply, 200)
    if reply is None:
        with pytest.raises(httpx.RemoteProtocolError):
            request_status("POST", server.server_port)
    else:
        assert request_status("POST", server.server_port) == 503
    assert (server.received, request_status.waits) == (["POST"], [])


def test_a_post_is_retried_if_no_connection_was_made(request_status):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(httpx.ConnectError):
        request_status("POST", port)
    assert request_status.waits == [0.5, 1, 2, 4]


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_other_errors_are_not_retried(serve, request_status, status):
    server = serve(status)
    assert request_status("GET", server.server_port) == status
    assert request_status.waits == []
