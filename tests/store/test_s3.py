"""Answers of an S3 server that fails in passing, from a small server on loopback; tests/journeys has the real one."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest

from vitau.errors import ChecksumError, StoreError
from vitau.store import S3Store, open_store, s3, sha256_of


class Server(ThreadingHTTPServer):
    """Keeps one object; ``failures`` are the next answers: a status, or "cut" for half of a body."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.failures: list[int | str] = []
        self.digest: str | None = None
        self.body = b""
        self.requests = 0


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_PUT(self) -> None:
        if self.headers.get("Expect") == "100-continue":
            pass  # http.server has answered
        length = int(self.headers.get("X-Amz-Decoded-Content-Length") or self.headers["Content-Length"])
        data = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.requests += 1
        if self.server.failures:
            self._refuse(int(self.server.failures.pop(0)))
        elif self.server.body:
            self._refuse(412)
        else:
            self.server.body = data[-length:] if length == len(data) else b"data"
            self.server.digest = self.headers["x-amz-meta-sha256"]
            self._answer(b"")

    def do_GET(self) -> None:
        self.server.requests += 1
        failure = self.server.failures.pop(0) if self.server.failures else None
        if failure == "cut":
            self._answer(self.server.body, send=len(self.server.body) // 2)
            self.close_connection = True
        elif failure is not None:
            self._refuse(int(failure))
        else:
            self._answer(self.server.body)

    def _refuse(self, status: int) -> None:
        code = {409: "ConditionalRequestConflict", 412: "PreconditionFailed", 503: "SlowDown"}[status]
        self._answer(f"<Error><Code>{code}</Code></Error>".encode(), status=status)

    def _answer(self, body: bytes, *, status: int = 200, send: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if self.server.digest is not None:
            self.send_header("x-amz-meta-sha256", self.server.digest)
        self.end_headers()
        self.wfile.write(body[:send])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch) -> Iterator[Server]:
    with Server() as server:
        values = {
            "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{server.server_port}",
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        monkeypatch.setattr(s3, "_BACKOFF_S", 0.01)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def store(server) -> S3Store:
    store = open_store("s3://bucket")
    assert isinstance(store, S3Store)
    return store


def test_a_conflict_is_tried_again_and_only_a_failed_precondition_means_taken(server, store):
    server.failures = [409, 409]
    assert store.put("k", b"data")
    assert server.requests == 3
    assert not store.put("k", b"data")


def test_a_conflict_that_lasts_is_an_error_and_never_success(server, store):
    server.failures = [409] * 50
    with pytest.raises(StoreError, match=r"cannot decide who writes s3://bucket/k \(409\): run it again"):
        store.put("k", b"data")
    assert server.body == b""


def test_an_answer_that_is_cut_off_or_503_is_requested_again(server, store, tmp_path):
    server.body, server.digest = b"film" * 1000, sha256_of(b"film" * 1000)
    server.failures = ["cut", 503]
    assert store.get("k") == b"film" * 1000
    server.failures = ["cut"]
    assert store.download("k", tmp_path / "copy").read_bytes() == b"film" * 1000
    assert [path.name for path in tmp_path.iterdir()] == ["copy"]


def test_an_object_without_the_digest_of_its_writer_or_with_other_bytes_is_refused(server, store, tmp_path):
    server.body = b"planted"
    with pytest.raises(ChecksumError, match=r"s3://bucket/k has no digest, so that ViTAU did not write it"):
        store.get("k", sha256=sha256_of(b"planted"))
    server.digest = sha256_of(b"film")
    with pytest.raises(ChecksumError, match=r"does not have the bytes that were written"):
        store.download("k", tmp_path / "copy")
    assert list(tmp_path.iterdir()) == []
