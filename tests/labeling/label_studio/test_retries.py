"""A real server on loopback that is away, slow or busy; the waits are counted, not waited."""

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from labeling.label_studio.retries import PatientTransport


class Moody(ThreadingHTTPServer):
    """Answers each request with the next of its moods: a status, or a connection closed without an answer."""

    def __init__(self, *moods: int | None) -> None:
        self.moods, self.heard = list(moods), []
        super().__init__(("127.0.0.1", 0), Mood)


class Mood(BaseHTTPRequestHandler):
    server: Moody

    def do_GET(self) -> None:
        self.server.heard.append(self.command)
        mood = self.server.moods.pop(0)
        if mood is None:
            self.close_connection = True
            return
        self.send_response(mood)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def moody() -> Iterator:
    servers = []

    def make(*moods: int | None) -> Moody:
        server = Moody(*moods)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        servers.append(server)
        return server

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture
def ask():
    """Asks with 10 s of patience on a clock that only its own waits move; returns the status, and notes the waits."""
    waits: list[float] = []

    def send(method: str, port: int) -> int:
        transport = PatientTransport(httpx.HTTPTransport(), patience_s=10, sleep=waits.append, clock=lambda: sum(waits))
        with httpx.Client(transport=transport) as client:
            return client.request(method, f"http://127.0.0.1:{port}/").status_code

    send.waits = waits
    return send


@pytest.mark.parametrize("mood", [503, 429, None])
def test_a_busy_server_is_asked_again_after_longer_and_longer_waits(moody, ask, mood):
    server = moody(mood, mood, mood, 200)
    assert ask("GET", server.server_port) == 200
    assert ask.waits == [0.5, 1, 2]


def test_patience_has_an_end(moody, ask):
    server = moody(*[503] * 10)
    assert ask("GET", server.server_port) == 503
    assert ask.waits == [0.5, 1, 2, 4]


@pytest.mark.parametrize("mood", [503, None])
def test_what_may_have_arrived_is_not_sent_twice(moody, ask, mood):
    server = moody(mood, 200)
    if mood is None:
        with pytest.raises(httpx.RemoteProtocolError):
            ask("POST", server.server_port)
    else:
        assert ask("POST", server.server_port) == 503
    assert (server.heard, ask.waits) == (["POST"], [])


def test_a_server_that_was_never_reached_may_be_sent_anything_again(ask):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(httpx.ConnectError):
        ask("POST", port)
    assert ask.waits == [0.5, 1, 2, 4]


@pytest.mark.parametrize("status", [400, 401, 404, 500])
def test_an_answer_is_an_answer(moody, ask, status):
    server = moody(status)
    assert ask("GET", server.server_port) == status
    assert ask.waits == []
