"""PostgreSQL and a real S3: the same code, by settings alone."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urljoin
from uuid import uuid4

import boto3
import httpx
import pytest
import sqlalchemy as sa

from flows.doctor import storage
from flows.execution.clip_worker import frames_version
from flows.settings import Settings
from labeling.label_studio.client import connect
from vitau.catalog.catalog import open_catalog
from vitau.errors import ChecksumError, ObjectNotFoundError, StoreError
from vitau.store import S3Store, make_bucket, open_store, sha256_of

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]

WEED = Path(sys.executable).parent / "weed"
KEY, SECRET = "journey", "only-for-these-tests"
CONFIG = {
    "identities": [
        {
            "name": "journey",
            "credentials": [{"accessKey": KEY, "secretKey": SECRET}],
            "actions": ["Admin", "Read", "List", "Tagging", "Write"],
        }
    ]
}


@pytest.fixture(scope="module")
def s3_environment(tmp_path_factory):
    """Start a SeaweedFS with one bucket and yield boto3's variables for it."""
    folder = tmp_path_factory.mktemp("seaweedfs")
    (folder / "data").mkdir()
    (folder / "s3.json").write_text(json.dumps(CONFIG))
    services = ("master", "volume", "filer", "s3")
    ports = dict(zip([*services, *(f"{name} grpc" for name in services)], free_ports(8), strict=True))
    command = [
        *(WEED, "-logdir", folder, "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={folder / 'data'}", "-s3"),
        *(f"-{name}.port={ports[name]}" for name in services),
        *(f"-{name}.port.grpc={ports[f'{name} grpc']}" for name in services),
        *(f"-s3.config={folder / 's3.json'}", "-master.telemetry=false", "-master.volumeSizeLimitMB=64", "-volume.max=100"),
        *("-s3.port.iceberg=0", "-s3.port.lance=0"),  # their ports are fixed, and two servers at once would clash
    ]
    environment = {
        "AWS_ENDPOINT_URL_S3": f"http://127.0.0.1:{ports['s3']}",
        "AWS_ACCESS_KEY_ID": KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
    }
    with (folder / "output").open("wb") as log:
        process = subprocess.Popen(
            command,
            env=os.environ | {"WEED_MASTER_VOLUME_GROWTH_COPY_1": "1", "TMPDIR": str(folder)},
            cwd=folder,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        first_bucket(environment, process, folder / "output")
        yield environment
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # its data is thrown away
        process.wait()


def free_ports(number: int) -> list[int]:
    with contextlib.ExitStack() as probes:
        sockets = [probes.enter_context(socket.socket()) for _ in range(number)]
        for probe in sockets:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in sockets]


def first_bucket(environment, process, log: Path) -> None:
    """Wait until S3 answers (403 without keys), then create the bucket as soon as there is a volume for it."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and process.poll() is None:
        try:
            urllib.request.urlopen(environment["AWS_ENDPOINT_URL_S3"], timeout=5)  # noqa: S310 - our own address
        except urllib.error.HTTPError:
            break
        except OSError:
            time.sleep(0.2)
    client = boto3.client(
        "s3",
        endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
        aws_access_key_id=KEY,
        aws_secret_access_key=SECRET,
        region_name="us-east-1",
    )
    assert process.poll() is None, log.read_text()[-2000:]
    client.create_bucket(Bucket="vitau")


@pytest.fixture
def store(s3_environment, monkeypatch) -> S3Store:
    for name, value in s3_environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it caches the keys of the first session
    store = open_store(f"s3://vitau/{uuid4().hex}")
    assert isinstance(store, S3Store)
    return store


def test_an_object_is_read_as_it_was_written(store, tmp_path):
    source = tmp_path / "clip.mp4"
    source.write_bytes(b"film")
    assert store.put("subjects/a/raw.mp4", source)
    assert store.get("subjects/a/raw.mp4", sha256=sha256_of(b"film")) == b"film"
    assert store.download("subjects/a/raw.mp4", tmp_path / "deep" / "copy").read_bytes() == b"film"
    assert store.exists("subjects/a/raw.mp4")
    assert not store.exists("subjects/a")


def test_the_doctor_passes_this_store_and_this_database(store, postgresql_url, tmp_path):
    given = {"store": store.uri, "catalog": postgresql_url, "pseudonym_key": "long enough for a key", "work": tmp_path}
    elsewhere = {"label_studio_url": "http://127.0.0.1:1", "label_studio_token": "t", "mlflow_url": "http://127.0.0.1:1"}
    settings = Settings(**(given | elsewhere))
    assert storage.objects(settings) == "written, read, and a second write refused"
    assert storage.addresses(settings).endswith("opens a signed address and refuses an unsigned one")
    assert storage.rows(settings) == "postgresql: 6 writers in parallel"
    assert list(store.keys()) == []


def test_the_first_writer_wins_and_the_second_gets_false(store):
    assert store.put("k", b"first")
    assert not store.put("k", b"second")
    assert store.get("k") == b"first"


def test_of_eight_writers_at_once_exactly_one_creates_the_object(store):
    barrier = threading.Barrier(8)

    def write(number: int) -> bool:
        barrier.wait()
        return store.put("race", str(number).encode() * 1000)

    with ThreadPoolExecutor(8) as writers:
        created = list(writers.map(write, range(8)))
    assert sum(created) == 1
    assert store.get("race") == str(created.index(True)).encode() * 1000


def test_more_keys_than_a_page_are_listed_sorted_and_erased_without_their_neighbors(store):
    keys = [f"s/ab/{number:04d}" for number in range(1005)]
    with ThreadPoolExecutor(8) as writers:
        list(writers.map(lambda key: store.put(key, b""), [*reversed(keys), "s/a/1", "t"]))
    assert list(store.keys("s/ab")) == keys
    assert next(store.keys("s/a")) == "s/a/1"
    assert store.erase("s/ab/") == 1005
    assert list(store.keys()) == ["s/a/1", "t"]


def test_a_bucket_is_created_once(store):
    name = f"b{uuid4().hex}"
    make_bucket(name)
    elsewhere = open_store(f"s3://{name}")
    assert elsewhere.put("k", b"1")
    make_bucket(name)
    assert elsewhere.get("k") == b"1"


def test_a_missing_object_is_named(store, tmp_path):
    sentence = f"no object at {store.uri}/nothing/here: it was never written, or it was erased"
    for read in (lambda: store.get("nothing/here"), lambda: store.download("nothing/here", tmp_path / "copy")):
        with pytest.raises(ObjectNotFoundError) as caught:
            read()
        assert str(caught.value) == sentence
    assert list(tmp_path.iterdir()) == []


def test_changed_bytes_are_detected_by_default(store):
    store.put("k", b"true")
    store._client.put_object(Bucket="vitau", Key=f"{store.prefix}k", Body=b"fake", Metadata={"sha256": sha256_of(b"true")})
    with pytest.raises(ChecksumError) as caught:
        store.get("k")
    assert str(caught.value) == (
        f"{store.uri}/k does not have the bytes that were written (sha256 {sha256_of(b'true')[:12]}…): restore it from a copy"
    )


def test_a_refusal_is_one_sentence(store, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)
    with pytest.raises(StoreError) as caught:
        open_store(store.uri).put("k", b"")
    assert str(caught.value) == (
        f"the object store refuses {store.uri}/k (SignatureDoesNotMatch): check the bucket and the keys"
    )


def test_a_store_that_does_not_answer_is_one_sentence(store, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    with pytest.raises(StoreError, match=r"^the object store cannot be reached for s3://vitau/.*/k: .*127\.0\.0\.1:1"):
        open_store(store.uri).put("k", b"")


@pytest.fixture
def elsewhere(apart, s3_environment, postgresql_url, store) -> dict[str, str]:
    """Return the environment of the session's services, with rows in a new database and objects in S3."""
    name, reader = f"journey_{uuid4().hex}", uuid4().hex[:20]
    server = sa.create_engine(postgresql_url, isolation_level="AUTOCOMMIT", poolclass=sa.NullPool)
    with server.connect() as connection:
        connection.execute(sa.text(f"CREATE DATABASE {name}"))
    url = sa.make_url(postgresql_url).set(database=name).render_as_string(hide_password=False)
    readers = json.dumps([f"{reader}-a", f"{reader}-b"])  # projects for this test alone
    return apart | s3_environment | {"VITAU_STORE": store.uri, "VITAU_CATALOG": url, "VITAU_READERS": readers}


def test_ingest_makes_the_same_rows_and_objects_as_on_a_folder_and_readers_see_the_pictures(
    people, apart, elsewhere, command, store, tmp_path
):
    outputs = []
    for environment in (apart, elsewhere):
        done = command("flows", "ingest", people / "manifest.csv", "--state", tmp_path / "none", env=environment)
        assert (done.code, done.err) == (0, "")
        outputs.append(done.out)
    assert outputs[0] == outputs[1]
    on_sqlite, on_postgresql = open_catalog(apart["VITAU_CATALOG"]), open_catalog(elsewhere["VITAU_CATALOG"])
    assert len(on_postgresql.clips()) == 3
    assert on_postgresql.subjects() == on_sqlite.subjects()
    assert on_postgresql.clips() == on_sqlite.clips()
    tables = on_postgresql.frame_tables(frames_version())
    assert len(tables) == 3
    assert tables == on_sqlite.frame_tables(frames_version())
    for catalog in (on_sqlite, on_postgresql):
        catalog.engine.dispose()
    folder = open_store(apart["VITAU_STORE"])
    assert {key: store.get(key) for key in store.keys("subjects/")} == {
        key: folder.get(key) for key in folder.keys("subjects/")
    }

    done = command("flows", "annotate", "--state", tmp_path / "none", env=elsewhere)
    # the adjudicator's answers about others are the demo's, if it ran before
    others = r"(\d+ of the answers of ViTAU adjudication cannot be read; `flows status` shows why\n)?"
    assert done.code == 0
    assert re.fullmatch(others, done.err), done.err
    palsied = [key for key in store.keys("subjects/") if "/keyframes/" in key]
    assert json.loads(done.out)["pushed"] == len({key.split("/")[1] for key in palsied}) > 0
    assert picture(elsewhere) in {store.get(key) for key in palsied}


def picture(environment) -> bytes:
    """Read the first picture of the first reader's first task as a browser does: from Label Studio, then S3."""
    url, token = environment["VITAU_LABEL_STUDIO_URL"], environment["VITAU_LABEL_STUDIO_TOKEN"]
    client = connect(url, token)
    (project,) = client.projects.list(title=f"ViTAU {json.loads(environment['VITAU_READERS'])[0]}")
    task = next(iter(client.tasks.list(project=project.id, fields="all", resolve_uri=True)))
    # httpx drops the token when Label Studio redirects to S3, as a browser drops its session
    answer = httpx.get(urljoin(url, task.data["images"][0]), headers={"Authorization": f"Token {token}"}, follow_redirects=True)
    assert answer.status_code == 200, answer.text
    assert str(answer.url).startswith(environment["AWS_ENDPOINT_URL_S3"])
    return answer.content
