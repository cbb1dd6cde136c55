"""Every check of the doctor with a fault that it must find; healthy services are in the journey."""

import importlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

import boto3
import httpx
import pytest

from flows.doctor import label_studio, machine, rest, services, storage
from flows.doctor.findings import CheckFailedError, CheckWarningError, NotApplicableError, Result, run_checks, secrets_of
from flows.settings import HIDDEN, ROOT, Settings
from vitau.catalog.catalog import open_catalog
from vitau.store import sha256_of

CLOSED = "http://127.0.0.1:1"


@pytest.fixture
def settings(tmp_path):
    def make(**changes):
        given = {
            "store": (tmp_path / "store").as_uri(),
            "catalog": f"sqlite:///{tmp_path / 'catalog.db'}",
            "pseudonym_key": "a key that is long enough",
            "label_studio_url": CLOSED,
            "label_studio_token": "the token",
            "mlflow_url": CLOSED,
            "work": tmp_path / "work",
        }
        return Settings(**(given | changes))

    return make


@contextmanager
def server(answer):
    """A server on loopback; ``answer(method, path, body)`` returns the status, the body, and headers."""

    class Handler(BaseHTTPRequestHandler):
        def do(self):
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, sent, *headers = answer(self.command, self.path, body)
            self.send_response_only(status)
            for name, value in {"Date": self.date_time_string(), **dict(headers)}.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(sent)

        do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def package(folder, name, version, *requires):
    """Install the metadata of a package, as pip would."""
    info = folder / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {name}" for name in requires)]
    (info / "METADATA").write_text("\n".join(lines) + "\n")


def test_packages_that_do_not_work_together_are_named(tmp_path, monkeypatch):
    assert machine.packages().startswith("fastapi 0.150")
    monkeypatch.syspath_prepend(tmp_path)
    package(tmp_path, "fastapi", "0.153.1")
    package(tmp_path, "SQLAlchemy", "2.1.0")
    package(tmp_path, "opencv-python", "4.12.0.88")
    package(tmp_path, "torchvision", "0.20.0", "torch==2.5.0")
    importlib.invalidate_caches()
    with pytest.raises(CheckFailedError) as caught:
        machine.packages()
    torch = machine.installed("torch").partition("+")[0]
    assert str(caught.value) == (
        "fastapi 0.153.1 is too new (Prefect 3.8.8 raises TypeError at the first flow); "
        "sqlalchemy 2.1.0 is too new (Prefect 3.8.8 silently schedules no runs); "
        "opencv-python and opencv-python-headless are both installed as cv2; "
        f"torchvision needs torch 2.5.0 and torch is {torch}: install what constraints.txt pins (`make setup`)"
    )


def test_this_machine_passes_its_checks(settings):
    assert machine.faces() == "a drawn face is found, with 68 landmarks and an identity of 128 numbers"
    assert machine.video() == "h264 is written and read"
    assert "GB are free" in machine.disk(settings(), least_gb=0.001)


def test_missing_models_and_a_missing_encoder_are_sentences(monkeypatch):
    import av

    monkeypatch.setitem(sys.modules, "face_recognition_models", None)
    with pytest.raises(CheckFailedError, match=r"^dlib's models are missing: install face-recognition-models"):
        machine.faces()
    monkeypatch.setattr(av, "codecs_available", set())
    with pytest.raises(CheckFailedError, match=r"^PyAV has no h264 encoder"):
        machine.video()


def test_a_nearly_full_disk_is_a_warning_and_a_full_one_fails(settings):
    free = shutil.disk_usage("/").free / (1 << 30)
    with pytest.raises(CheckWarningError, match=r"GB are free for .*, less than .*: free some space"):
        machine.disk(settings(), least_gb=5 * free)
    with pytest.raises(CheckFailedError, match="free some space before the next flow"):
        machine.disk(settings(), least_gb=100 * free)


def test_more_threads_than_cores_are_a_warning(settings, monkeypatch):
    cores = len(os.sched_getaffinity(0))
    monkeypatch.setenv("VITAU_TORCH_THREADS", str(cores))
    with pytest.raises(CheckWarningError, match="2 trainings with"):
        machine.threads(settings(num_trainings=2))
    with pytest.raises(CheckWarningError, match=f"VITAU_NUM_PROCESSES is {cores + 1}"):
        machine.threads(settings(num_processes=cores + 1))


def test_a_missing_webhook_server_and_a_missing_cluster_are_sentences(settings):
    with pytest.raises(NotApplicableError):
        machine.receiver(settings())
    with pytest.raises(CheckFailedError, match="VITAU_WEBHOOK_SECRET is not"):
        machine.receiver(settings(webhook_url=CLOSED))
    with pytest.raises(
        CheckFailedError, match=r"^nothing listens at 127.0.0.1:1 \(Connection refused\): start `python -m flows receive`"
    ):
        machine.receiver(settings(webhook_url=CLOSED, webhook_secret="a secret that is long enough"))
    with pytest.raises(CheckFailedError, match="start it with `ray start --head`"):
        machine.ray(settings(ray_address="127.0.0.1:1"))


def test_a_folder_and_a_sqlite_file_pass_and_nothing_is_left_there(settings, tmp_path):
    assert storage.objects(settings()) == "written, read, and a second write refused"
    assert storage.rows(settings()) == "sqlite: 6 writers in parallel"
    assert not [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    catalog = open_catalog(settings().catalog.get_secret_value())
    assert catalog.leases() == {}
    catalog.engine.dispose()
    with pytest.raises(NotApplicableError):
        storage.addresses(settings())


def test_a_catalog_without_a_write_ahead_log_fails(settings):
    with pytest.raises(CheckFailedError, match="has journal mode memory, not wal"):
        storage.rows(settings(catalog="sqlite:///:memory:"))


class CarelessStore:
    """An object store over HTTP that overwrites objects and shows them to anyone."""

    def __init__(self):
        self.kept = {}

    def __call__(self, method, path, body):
        key = urlsplit(path).path.removeprefix("/bucket/")
        if method == "PUT":
            self.kept[key] = body.split(b"\r\n")[1] if b"\r\n" in body else body  # boto3 sends it in chunks
            return 200, b""
        if method == "DELETE":
            self.kept.pop(key, None)
            return 204, b""
        if "list-type" in path:
            keys = "".join(f"<Contents><Key>{name}</Key></Contents>" for name in self.kept)
            return 200, f"<ListBucketResult><IsTruncated>false</IsTruncated>{keys}</ListBucketResult>".encode()
        if key not in self.kept:
            return 404, b"<Error><Code>NoSuchKey</Code></Error>"
        return 200, self.kept[key], ("x-amz-meta-sha256", sha256_of(self.kept[key]))


@pytest.fixture
def careless(monkeypatch):
    store = CarelessStore()
    with server(store) as url:
        for name, value in {
            "ENDPOINT_URL_S3": url,
            "ACCESS_KEY_ID": "k",
            "SECRET_ACCESS_KEY": "s",
            "DEFAULT_REGION": "x",
        }.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
        yield store


def test_a_store_that_overwrites_objects_fails_and_is_left_clean(settings, careless):
    with pytest.raises(CheckFailedError, match=r"^s3://bucket ignores conditional puts \(If-None-Match: \*\): two workers"):
        storage.objects(settings(store="s3://bucket"))
    assert careless.kept == {}


def test_a_store_that_shows_its_objects_to_anyone_fails(settings, careless):
    with pytest.raises(CheckFailedError, match=r"^s3://bucket shows its objects to anyone"):
        storage.addresses(settings(store="s3://bucket"))
    assert careless.kept == {}


@pytest.mark.parametrize(
    ("check", "sentence"),
    [
        (label_studio.account, "start it (`make up` on one machine), or correct VITAU_LABEL_STUDIO_URL"),
        (services.mlflow, "start it (`make up` on one machine), or correct VITAU_MLFLOW_URL"),
        (lambda _: services.prefect(f"{CLOSED}/api"), "start it (`make up` on one machine), or correct PREFECT_API_URL"),
    ],
)
def test_a_service_that_does_not_answer_is_a_sentence(settings, check, sentence):
    with pytest.raises(CheckFailedError) as caught:
        check(settings())
    assert str(caught.value).startswith(f"nothing answers at {CLOSED}")
    assert str(caught.value).endswith(f"(ConnectError): {sentence}")


def test_label_studio_without_legacy_tokens_or_of_another_release_is_a_sentence(settings):
    answers = {"/api/version": (200, b'{"release": "1.24.0"}'), "/api/current-user/whoami": (200, b"{}")}
    with server(lambda _, path, __: answers[path]) as url:
        with pytest.raises(CheckWarningError, match=r"^Label Studio is 1\.24\.0, and 1\.23 was tried"):
            label_studio.account(settings(label_studio_url=url))
        detail = "Authentication token no longer valid: legacy token authentication has been disabled for this organization"
        answers["/api/current-user/whoami"] = (401, json.dumps({"detail": detail}).encode())
        with pytest.raises(CheckFailedError, match="does not accept legacy tokens: enable them"):
            label_studio.account(settings(label_studio_url=url))


def test_label_studio_that_blocks_private_addresses_is_a_sentence(settings):
    with server(lambda *_: (403, b'{"detail": "URL resolves to a reserved network address (block: 127.0.0.0/8)"}')) as url:
        with pytest.raises(NotApplicableError):
            label_studio.addresses(settings(label_studio_url=url))
        with pytest.raises(CheckFailedError, match=r"SSRF protection blocks the private address of the webhook server"):
            label_studio.addresses(settings(label_studio_url=url, webhook_url="http://127.0.0.1:8090/webhook"))


def test_a_connection_of_label_studio_that_leads_to_aws_is_a_sentence(settings):
    answers = {"/api/projects/": {"results": [{"id": 3}]}, "/api/storages/s3": [{"bucket": "vitau", "s3_endpoint": None}]}
    with (
        server(lambda _, path, __: (200, json.dumps(answers[urlsplit(path).path]).encode())) as url,
        pytest.raises(CheckFailedError, match=r"^project 3 of Label Studio reads vitau from AWS and not from http://s3\.here"),
    ):
        label_studio.wrong_endpoint(settings(label_studio_url=url), "vitau", "http://s3.here")


def test_mlflow_with_s3_and_without_multipart_uploads_is_a_warning(settings, monkeypatch):
    monkeypatch.delenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", raising=False)
    requests = []

    def answer(method, path, body):
        requests.append(f"{method} {path.split('/')[4]}")
        return 200, b"x" * 4096 if method == "GET" else b'{"upload_id": "7"}'

    with server(answer) as url:
        with pytest.raises(CheckWarningError, match="set MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD=true"):
            services.mlflow_artifacts(settings(mlflow_url=url))
        monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
        assert services.mlflow_artifacts(settings(mlflow_url=url)) == "files pass its proxy, large ones in parts"
    assert requests[:5] == ["PUT artifacts", "GET artifacts", "DELETE artifacts", "POST mpu", "POST mpu"]


def test_a_champion_without_its_files_is_a_sentence(settings):
    answers = {
        "/health": (200, b"OK"),
        "/version": (200, b"3.17.2"),
        "/api/2.0/mlflow/registered-models/alias": (200, b'{"model_version": {"version": "4"}}'),
        "/model-versions/get-artifact": (500, b"gone"),
    }
    with (
        server(lambda _, path, __: answers[urlsplit(path).path]) as url,
        pytest.raises(CheckFailedError, match=r"^vitau-regions 4 is champion and its files cannot be read \(500: gone\)"),
    ):
        services.mlflow(settings(mlflow_url=url))
    with (
        server(lambda *_: (200, b"<html>another page</html>")) as url,
        pytest.raises(CheckFailedError, match="is not MLflow: correct VITAU_MLFLOW_URL"),
    ):
        services.mlflow(settings(mlflow_url=url))


def test_prefect_of_another_release_is_a_sentence():
    answers = {"/api/health": b"true", "/api/admin/version": b'"3.1.0"'}
    with (
        server(lambda _, path, __: (200, answers[path])) as url,
        pytest.raises(CheckFailedError, match=r"^Prefect's server is 3\.1\.0 and the client is 3\.8\.8"),
    ):
        services.prefect(f"{url}/api")
    with (
        server(lambda *_: (200, b"<html>")) as url,
        pytest.raises(CheckFailedError, match="is not Prefect's API: PREFECT_API_URL ends in /api"),
    ):
        services.prefect(url)


def test_a_schedule_without_runs_is_a_sentence_and_the_trial_is_removed(monkeypatch):
    monkeypatch.setattr(services, "_SCHEDULE_TIMEOUT_S", 0.0)
    requests = []

    def answer(method, path, body):
        requests.append(f"{method} {path}")
        return 200, b"0" if path.endswith("count") else b'{"id": "7"}'

    with server(answer) as url, pytest.raises(CheckFailedError, match=r"^Prefect creates no runs of a schedule"):
        services.schedules(url)
    deleted = [request for request in requests if not request.startswith("GET /csrf-token")]
    assert deleted[-2:] == ["DELETE /deployments/7", "DELETE /flows/7"]


@pytest.mark.parametrize(("skew_s", "kind"), [(0, None), (120, CheckWarningError), (1200, CheckFailedError)])
def test_a_wrong_clock_is_a_sentence(settings, skew_s, kind):
    def stamped(*_):
        return 200, b"", ("Date", format_datetime(datetime.now(UTC) + timedelta(seconds=skew_s), usegmt=True))

    with server(stamped) as url:
        given = settings(label_studio_url=url)
        if kind is None:
            assert services.clock(given, None).startswith("the clock of Label Studio differs by")
        else:
            with pytest.raises(kind, match=r"^the clock of Label Studio differs by 1\d+ s from that of this machine.*\(NTP\)$"):
                services.clock(given, None)


def test_a_check_that_hangs_or_raises_affects_no_other_and_no_secret_is_printed(settings):
    def passes():
        return "passed"

    def hangs():
        time.sleep(3)
        return "too late"

    def raises():
        raise KeyError("the token\nof pass:word")

    hidden = secrets_of(settings(catalog="postgresql+psycopg://user:pass:word@db/vitau"))
    found = run_checks([("hangs", hangs), ("raises", raises), ("passes", passes)], hidden, timeout_s=0.5)
    assert [(finding.check, finding.result) for finding in found] == [
        ("hangs", Result.FAILED),
        ("raises", Result.FAILED),
        ("passes", Result.OK),
    ]
    assert "did not end within" in found[0].sentence
    assert found[1].sentence == rf"KeyError: '{HIDDEN}\nof {HIDDEN}'"


def test_an_unreachable_catalog_is_reported_without_its_password(settings):
    given = settings(catalog="postgresql+psycopg://vitau:hush-hush@127.0.0.1:1/vitau")
    [found] = run_checks([("rows", lambda: storage.rows(given))], secrets_of(given))
    assert found.result is Result.FAILED
    assert found.sentence.startswith("the catalog cannot be reached or written")
    assert "hush-hush" not in found.sentence


def test_a_check_that_still_runs_native_code_does_not_abort_the_exit():
    program = """
import torch
from flows.doctor.findings import exit_process, run_checks

def hangs():
    ones = torch.ones(64, 64)
    while True:
        (ones @ ones).sum().item()

print(run_checks([("torch", hangs)], [], 0.5)[0].result)
exit_process(1)
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "failed\n", "")


def test_a_service_that_is_unavailable_for_a_moment_is_asked_again(monkeypatch):
    monkeypatch.setattr(rest, "_PAUSE_S", 0.0)
    statuses = [503, 503, 200]
    transport = httpx.MockTransport(lambda _request: httpx.Response(statuses.pop(0) if statuses else 503))
    with httpx.Client(transport=transport) as client:
        assert rest.request("GET", "http://service", "start it", client=client).status_code == 200
        assert rest.request("GET", "http://service", "start it", client=client).status_code == 503
