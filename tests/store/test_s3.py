"""Answers of an S3 server that fails in passing, from a small server on loopback; tests/journeys has the real one."""

import resource
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

import boto3
import pytest

from vitau.errors import ChecksumError, ObjectNotFoundError, StoreError
from vitau.store import Digest, S3Store, make_bucket, open_store, s3, sha256_of


class Server(ThreadingHTTPServer):
    """Keeps one object; ``failures`` are the next answers: a status, or "cut" for half of a body.

    The codes of errors are Amazon's; ``codes`` replaces them, an empty one by an answer without a body.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.failures: list[int | str] = []
        self.digest: str | None = None
        self.body = b""
        self.requests = 0
        self.paths: list[str] = []
        self.put_path: str | None = None
        self.put_headers: dict[str, str] = {}
        self.deleted: list[str] = []
        self.pages: dict[str, str] = {}
        self.codes: dict[int, str] = {}


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_DELETE(self) -> None:
        if self.server.failures:
            self._refuse(int(self.server.failures.pop(0)))
            return
        self.server.deleted.append(self.path)
        self._answer(b"", status=204)

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
            self.server.put_path, self.server.put_headers = self.path, dict(self.headers)
            self._answer(b"")

    def do_GET(self) -> None:
        self.server.requests += 1
        self.server.paths.append(self.path)
        page = next((page for start, page in self.server.pages.items() if self.path.startswith(start)), None)
        failure = self.server.failures.pop(0) if self.server.failures else None
        if failure == "cut":
            self._answer(self.server.body, send=len(self.server.body) // 2)
            self.close_connection = True
        elif failure is not None:
            self._refuse(int(failure))
        elif page is not None:
            self._answer(page.encode())
        else:
            self._answer(self.server.body)

    def _refuse(self, status: int) -> None:
        codes = {403: "AccessDenied", 404: "NoSuchKey", 409: "ConditionalRequestConflict", 412: "PreconditionFailed"}
        code = (codes | {503: "SlowDown"} | self.server.codes)[status]
        self._answer(f"<Error><Code>{code}</Code></Error>".encode() if code else b"", status=status)

    def _answer(self, body: bytes, *, status: int = 200, send: int | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        if self.server.digest is not None:
            self.send_header("x-amz-meta-sha256", self.server.digest)
        self.end_headers()
        if self.command != "HEAD":
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


def test_a_store_names_its_keys_and_its_address_and_hides_the_secret(server, store, monkeypatch):
    keys = store.access()
    address = f"http://127.0.0.1:{server.server_port}"
    assert (keys.endpoint_url, keys.access_key, keys.secret_key, keys.region) == (address, "key", "secret", "us-east-1")
    assert "secret=" not in repr(keys)
    assert "'secret'" not in repr(keys)
    assert (store.uri, open_store("s3://bucket/a/b/").uri) == ("s3://bucket", "s3://bucket/a/b")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StoreError) as caught:
        store.access()
    assert str(caught.value) == "no keys for s3://bucket: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"


def test_a_signed_address_names_the_object_below_the_prefix_and_its_seconds(server):
    signed_s = time.time()
    address = open_store("s3://bucket/a").signed_address("clips/1.mp4", valid_s=300)
    assert address.startswith(f"http://127.0.0.1:{server.server_port}/bucket/a/clips/1.mp4?")
    (expires_s,) = parse_qs(urlsplit(address).query)["Expires"]
    assert 299 <= float(expires_s) - signed_s < 330
    with pytest.raises(ValueError, match="not an object key"):
        open_store("s3://bucket/a").signed_address("../x", valid_s=300)


def test_a_digest_is_read_from_the_metadata_of_the_object(server, store):
    server.body, server.digest = b"film", sha256_of(b"film")
    assert store.digest("k") == Digest(sha256=sha256_of(b"film"), size=4)
    assert store.exists("k")
    server.digest = None
    assert store.digest("k") is None
    server.failures = [404, 404]
    assert store.digest("k") is None
    assert not store.exists("k")
    assert set(server.paths) == {"/bucket/k"}


def test_every_refusal_is_one_clear_sentence(server, store, tmp_path):
    server.failures = [404]
    with pytest.raises(ObjectNotFoundError) as caught:
        store.get("k")
    assert str(caught.value) == "no object at s3://bucket/k: it was never written, or it was erased"
    server.failures = [403]
    with pytest.raises(StoreError) as refused:
        store.download("k", tmp_path / "copy")
    assert str(refused.value) == "the object store refuses s3://bucket/k (AccessDenied): check the bucket and the keys"
    server.failures = ["cut"] * 20
    server.body, server.digest = b"film", sha256_of(b"film")
    with pytest.raises(StoreError) as cut:
        store.get("k")
    assert str(cut.value) == "the object store stopped while it sent s3://bucket/k: run it again"
    assert server.failures == ["cut"] * 14


def test_a_file_is_sent_with_its_digest_and_only_if_the_key_is_new(server, store, tmp_path):
    (tmp_path / "film").write_bytes(b"film" * 10)
    assert open_store("s3://bucket/a").put("k", tmp_path / "film")
    assert server.digest == sha256_of(b"film" * 10)
    assert server.put_path == "/bucket/a/k"
    assert server.put_headers["If-None-Match"] == "*"
    assert server.put_headers["x-amz-sdk-checksum-algorithm"] == "SHA256"


def test_keys_are_listed_below_the_prefix_and_each_is_erased_with_its_versions_and_uploads(server):
    server.pages = {
        "/bucket?list-type=2": "<ListBucketResult><Contents><Key>a/s/1</Key></Contents>"
        "<Contents><Key>a/s/2</Key></Contents></ListBucketResult>",
        "/bucket?versions": "<ListVersionsResult><Version><Key>a/s/1</Key><VersionId>v1</VersionId></Version>"
        "<DeleteMarker><Key>a/s/1</Key><VersionId>v2</VersionId></DeleteMarker></ListVersionsResult>",
        "/bucket?uploads": "<ListMultipartUploadsResult><Upload><Key>a/s/3</Key><UploadId>u1</UploadId></Upload>"
        "</ListMultipartUploadsResult>",
    }
    store = open_store("s3://bucket/a")
    assert list(store.keys("s/")) == ["s/1", "s/2"]
    assert "prefix=a%2Fs%2F" in server.paths[0]
    assert store.erase("s/") == 2
    assert server.deleted == ["/bucket/a/s/1", "/bucket/a/s/2"]
    server.deleted.clear()
    assert store.purge("s/") == 2
    assert server.deleted[2:] == ["/bucket/a/s/1?versionId=v1", "/bucket/a/s/1?versionId=v2", "/bucket/a/s/3?uploadId=u1"]
    assert all("prefix=a%2Fs%2F" in path for path in server.paths)


def test_a_bucket_is_created_once(server):
    server.pages = {
        "/": "<ListAllMyBucketsResult><Buckets><Bucket><Name>old</Name></Bucket></Buckets></ListAllMyBucketsResult>"
    }
    make_bucket("old")
    assert server.put_path is None
    make_bucket("new")
    assert server.put_path == "/new"


def test_a_server_that_is_away_is_a_clear_error(monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    with pytest.raises(StoreError, match=r"the object store cannot be reached for s3://bucket/k: Could not connect"):
        open_store("s3://bucket").get("k")


def test_a_busy_server_is_asked_again_five_times_and_a_silent_one_is_given_up_after_30_seconds(server, store, monkeypatch):
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0)
    server.failures = [503] * 20
    with pytest.raises(StoreError, match=r"the object store refuses s3://bucket/k \(SlowDown\)"):
        store.get("k")
    assert server.requests == 6
    config = store._client.meta.config
    assert (config.connect_timeout, config.read_timeout) == (10, 30)


def test_attempts_after_a_conflict_are_further_and_further_apart(server, store, monkeypatch):
    delays: list[float] = []
    monkeypatch.setattr(s3, "_BACKOFF_S", 1.0)
    monkeypatch.setattr(s3.time, "sleep", delays.append)
    server.failures = [409] * 5
    assert store.put("k", b"data")
    assert len(delays) == 5
    assert all(0.5 * 2**number <= delay <= 2**number for number, delay in enumerate(delays))
    assert len({delay / 2**number for number, delay in enumerate(delays)}) > 1, "with jitter"


@pytest.mark.parametrize("code", ["PreconditionFailed", "412", ""])
def test_a_lost_race_is_no_error_whatever_the_server_calls_it(server, store, code):
    server.codes, server.failures = {412: code}, [412]
    assert not store.put("k", b"data")


@pytest.mark.parametrize("code", ["ConditionalRequestConflict", "409", ""])
def test_a_conflict_is_tried_again_whatever_the_server_calls_it(server, store, code):
    server.codes, server.failures = {409: code}, [409]
    assert store.put("k", b"data")
    assert server.requests == 2


@pytest.mark.parametrize("code", ["NoSuchKey", "NotFound", "404", ""])
def test_a_missing_object_is_missing_whatever_the_server_calls_it(server, store, code):
    server.codes, server.failures = {404: code}, [404]
    with pytest.raises(ObjectNotFoundError):
        store.get("k")


def test_every_request_that_is_refused_names_its_object_or_prefix(server, tmp_path):
    store = open_store("s3://bucket/a")
    requests = {
        "a/k (AccessDenied)": [
            lambda: store.get("k"),
            lambda: store.download("k", tmp_path / "x"),
            lambda: store.put("k", b"1"),
        ],
        "a/k (403)": [lambda: store.digest("k"), lambda: store.exists("k")],  # the answer to HEAD has no body
        "a/s/ (AccessDenied)": [lambda: list(store.keys("s/")), lambda: store.erase("s/"), lambda: store.purge("s/")],
    }
    for location, calls in requests.items():
        for call in calls:
            server.failures = [403]
            with pytest.raises(StoreError) as caught:
                call()
            assert str(caught.value) == f"the object store refuses s3://bucket/{location}: check the bucket and the keys"
    server.failures = [403]
    with pytest.raises(StoreError) as caught:
        make_bucket("new")
    assert str(caught.value) == "the object store refuses s3://new (AccessDenied): check the bucket and the keys"


def test_a_refused_deletion_names_the_prefix(server, store, monkeypatch):
    monkeypatch.setattr(store, "keys", lambda prefix: iter([f"{prefix}1"]))
    server.failures = [403]
    with pytest.raises(StoreError) as caught:
        store.erase("s/")
    assert str(caught.value) == "the object store refuses s3://bucket/s/ (AccessDenied): check the bucket and the keys"
    monkeypatch.setattr(store, "erase", lambda _: 0)
    server.failures = [403]
    with pytest.raises(StoreError) as caught:
        store.purge("s/")
    assert str(caught.value) == "the object store refuses s3://bucket/s/ (AccessDenied): check the bucket and the keys"


def test_without_keys_a_signed_address_is_refused_with_the_object(server, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/dev/null")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    with pytest.raises(StoreError) as caught:
        open_store("s3://bucket").signed_address("k", valid_s=60)
    assert str(caught.value) == "the object store cannot be reached for s3://bucket/k: Unable to locate credentials"


def test_a_read_verifies_the_given_digest_before_that_of_the_writer(server, store, tmp_path):
    server.body, server.digest = b"film" * 500_000, sha256_of(b"film" * 500_000)
    for folder in ("deep/er", "deep"):
        assert store.download("k", tmp_path / folder / "copy", sha256=server.digest) == tmp_path / folder / "copy"
        assert (tmp_path / folder / "copy").read_bytes() == server.body
    for read in (lambda: store.get("k", sha256="0" * 64), lambda: store.download("k", tmp_path / "x", sha256="0" * 64)):
        with pytest.raises(ChecksumError) as caught:
            read()
        assert str(caught.value) == (
            "s3://bucket/k does not have the bytes that were written (sha256 000000000000…): restore it from a copy"
        )
    server.digest = None
    with pytest.raises(ChecksumError) as caught:
        store.get("k")
    assert str(caught.value) == (
        "s3://bucket/k has no digest, so that ViTAU did not write it: delete it, or upload it with the metadata sha256=…"
    )


def test_a_prefix_without_objects_versions_and_uploads_is_empty(server):
    server.pages = {
        "/bucket?list-type=2": "<ListBucketResult/>",
        "/bucket?versions": "<ListVersionsResult/>",
        "/bucket?uploads": "<ListMultipartUploadsResult/>",
    }
    store = open_store("s3://bucket/a")
    assert (list(store.keys()), store.purge("s/")) == ([], 0)
    assert "prefix=a%2F&" in f"{server.paths[0]}&"
    assert open_store("s3://bucket").erase("") == 0
    assert "prefix=&" in f"{server.paths[-1]}&"


def test_bytes_are_sent_with_their_digest_below_the_prefix(server):
    assert open_store("s3://bucket/a/b").put("c/k", b"data")
    assert (server.digest, server.put_path) == (sha256_of(b"data"), "/bucket/a/b/c/k")
    assert server.put_headers["If-None-Match"] == "*"


def test_a_full_disk_during_a_download_is_an_error_of_the_disk_and_leaves_nothing(server, store, tmp_path):
    server.body, server.digest = b"film" * 5000, sha256_of(b"film" * 5000)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            store.download("k", tmp_path / "copy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
