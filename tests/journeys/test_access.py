"""Nobody gets in: requests without credentials to every listening port, other users' files, and log-ins that only read."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError

from flows.deploy import job_template
from flows.erasure.volumes import REQUEST
from flows.execution.prefect_api import open_api
from flows.local_stack import backends, stack
from flows.local_stack.state import Program, read_secrets
from labeling.label_studio.projects import PRESIGN_MIN
from tests.journeys import intruder
from tests.journeys.raw_scan import person_of, search
from vitau.data.layout import clip_faces_key

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]

RAW = "subjects/erin/clips/0123/raw.mp4"
FRAMES = "subjects/erin/clips/0123/frames-ab.parquet"
FACES = clip_faces_key(FRAMES)
PICTURE = "subjects/erin/keyframes/0123-1.jpg"
FACE = b"the bytes of a face " * 1000


@pytest.fixture(scope="module")
def seaweedfs(tmp_path_factory) -> Iterator[Path]:
    """Start the SeaweedFS of a state folder, and yield the folder."""
    state = tmp_path_factory.mktemp("stored")
    (port,) = backends.free_ports(1)
    program = backends.seaweedfs(state, {"seaweedfs": f"http://127.0.0.1:{port}"})
    (state / "seaweedfs.json").write_text(json.dumps({"url": f"http://127.0.0.1:{port}"}))
    assert program.prepare is not None
    program.prepare()
    process = start(program, state)
    try:
        admin = s3(state, backends.ADMIN, "s3_admin_secret")
        admin.create_bucket(Bucket=backends.BUCKET)
        (state / "services.json").write_text(json.dumps([{"name": "seaweedfs", "pid": process.pid}]))
        yield state
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # its data is thrown away
        process.wait()


def start(program: Program, state: Path) -> "subprocess.Popen[bytes]":
    with (state / "log").open("wb") as log:
        process = subprocess.Popen(
            program.command,
            env=os.environ | dict(program.environment),
            cwd=state,
            stdout=log,
            stderr=log,
            start_new_session=True,
            umask=0o077,
        )
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, (state / "log").read_text()[-2000:]
        try:
            if httpx.get(program.health, timeout=5, verify=stack.certificates()).status_code == httpx.codes.OK:
                break
        except httpx.HTTPError:
            time.sleep(0.2)
    return process


def s3(state: Path, name: str, secret: str):
    return boto3.client(
        "s3",
        endpoint_url=json.loads((state / "seaweedfs.json").read_text())["url"],
        aws_access_key_id=name,
        aws_secret_access_key=read_secrets(state)[secret],
        region_name="us-east-1",
    )


def refused(action, **arguments) -> bool:
    """Return whether S3 denies a request."""
    try:
        action(Bucket=backends.BUCKET, **arguments)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] != httpx.codes.FORBIDDEN:
            raise
        return True
    return False


def test_every_listening_port_of_the_services_refuses_requests_without_credentials(services):
    ports, found = intruder.passed(intruder.pids(services.state))
    assert found == []
    assert ports == {"label-studio": 1, "mlflow": 1, "prefect": 1}


def test_every_port_of_seaweedfs_refuses_requests_without_credentials(seaweedfs):
    flows = s3(seaweedfs, backends.FLOWS, "s3_secret")
    flows.put_object(Bucket=backends.BUCKET, Key="intruder", Body=FACE)
    ports, found = intruder.passed(intruder.pids(seaweedfs))
    assert found == []
    assert ports == {"seaweedfs": 8}
    assert flows.get_object(Bucket=backends.BUCKET, Key="intruder")["Body"].read() == FACE
    without_certificate = shell(seaweedfs, "volume.list\n")
    assert "DataCenter" not in without_certificate


def shell(state: Path, commands: str) -> str:
    """Return what SeaweedFS' shell prints for another user of this machine, who knows the ports."""
    ports = json.loads((state / "seaweedfs" / "ports.json").read_text())
    master, filer = (f"127.0.0.1:{ports[name]}.{ports[f'{name} grpc']}" for name in ("master", "filer"))
    command = [backends.WEED, "shell", f"-master={master}", f"-filer={filer}"]
    process = subprocess.Popen(command, cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        return process.communicate(commands.encode(), timeout=8)[0].decode()
    except subprocess.TimeoutExpired:  # it tries again and again
        process.kill()
        return process.communicate()[0].decode()


def test_an_identity_of_s3_does_what_its_programs_need_and_no_more(seaweedfs):
    flows, scoring, pages, mlflow = (
        s3(seaweedfs, name, secret)
        for name, secret in (
            (backends.FLOWS, "s3_secret"),
            (backends.SCORING, "scoring_s3_secret"),
            (backends.PAGES, "pages_s3_secret"),
            (backends.MLFLOW, "mlflow_s3_secret"),
        )
    )
    for key in (RAW, PICTURE, "snapshots/1/manifest.parquet"):
        assert not refused(flows.put_object, Key=key, Body=FACE, IfNoneMatch="*")
    assert refused(flows.delete_bucket)
    assert not refused(scoring.get_object, Key=RAW)
    assert not refused(scoring.put_object, Key="scores/m/erin/frames.parquet", Body=b"1", IfNoneMatch="*")
    assert not refused(scoring.put_object, Key=FACES, Body=b"1", IfNoneMatch="*")
    assert refused(scoring.put_object, Key=FRAMES, Body=b"other frames", IfNoneMatch="*")
    assert refused(scoring.put_object, Key=RAW, Body=b"another face")
    assert refused(scoring.delete_object, Key=RAW)
    assert not refused(pages.head_bucket), "Label Studio checks it"
    assert not refused(pages.get_object, Key=PICTURE)
    assert refused(pages.get_object, Key="snapshots/1/manifest.parquet")
    assert refused(pages.put_object, Key=PICTURE, Body=b"another face")
    assert refused(pages.delete_object, Key=PICTURE)
    assert refused(mlflow.get_object, Key=PICTURE)


def test_after_a_cleaning_no_file_has_a_name_or_byte_of_a_deleted_object_and_all_others_are_whole(tmp_path):
    state = tmp_path / "state"
    state.mkdir()
    (port,) = backends.free_ports(1)
    program = backends.seaweedfs(state, {"seaweedfs": f"http://127.0.0.1:{port}"})
    (state / "seaweedfs.json").write_text(json.dumps({"url": f"http://127.0.0.1:{port}"}))
    with running(program, state):
        s3(state, backends.ADMIN, "s3_admin_secret").create_bucket(Bucket=backends.BUCKET)
        flows = s3(state, backends.FLOWS, "s3_secret")
        kept = {f"subjects/anna/clips/{number}/raw.mp4": os.urandom(4096) for number in range(30)}
        gone = {f"subjects/the-pseudonym/clips/{number:012x}cafe/raw.mp4": os.urandom(4096) for number in range(30)}
        for key, data in (kept | gone).items():
            flows.put_object(Bucket=backends.BUCKET, Key=key, Body=data)
        erased = person_of("the-pseudonym", [key.split("/")[3] for key in gone], gone)
        for key in gone:
            flows.delete_object(Bucket=backends.BUCKET, Key=key)
        upload_chunk(state, next(iter(gone.values())))
    assert any("filerldb2" in place for place in search(state, erased)), "a deletion alone leaves the names"
    (state / "seaweedfs" / REQUEST).touch()
    with running(program, state):
        for log in (state / "seaweedfs").glob("weed.*"):  # the erasure blanks them
            log.unlink()
        assert search(state, erased) == {}
        flows = s3(state, backends.FLOWS, "s3_secret")
        assert {key: read_after_start(flows, key) for key in kept} == kept
        listed = flows.list_objects_v2(Bucket=backends.BUCKET)["Contents"]
        assert {entry["Key"] for entry in listed} == set(kept)
        flows.put_object(Bucket=backends.BUCKET, Key="subjects/bert/raw.mp4", Body=FACE)
        assert flows.get_object(Bucket=backends.BUCKET, Key="subjects/bert/raw.mp4")["Body"].read() == FACE


def read_after_start(client: Any, key: str) -> bytes:
    """Return an object; after a start, SeaweedFS lists objects seconds before it reads their bytes."""
    deadline = time.monotonic() + 60
    while True:
        try:
            return bytes(client.get_object(Bucket=backends.BUCKET, Key=key)["Body"].read())
        except ClientError as error:
            if error.response["Error"]["Code"] != "InternalError" or time.monotonic() > deadline:
                raise
        time.sleep(0.5)


def upload_chunk(state: Path, data: bytes) -> None:
    """Write bytes into a volume and not into the index, as an upload does that is killed in its middle."""
    folder = state / "seaweedfs"
    ports = json.loads((folder / "ports.json").read_text())
    (state / "chunk").write_bytes(data)
    master = f"-master=127.0.0.1:{ports['master']}.{ports['master grpc']}"
    command = [backends.WEED, f"-config_dir={folder}", "upload", master, f"-collection={backends.BUCKET}", state / "chunk"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True, timeout=60)
    assert '"fid"' in done.stdout, done.stderr
    (state / "chunk").unlink()


@contextmanager
def running(program: Program, state: Path) -> Iterator[None]:
    """Prepare and start a program, and kill it at the end: what SeaweedFS acknowledged is written."""
    assert program.prepare is not None
    program.prepare()
    process = start(program, state)
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def test_a_web_page_cannot_create_a_deployment_and_a_deployment_cannot_name_a_command(services):
    api = services.environment["PREFECT_API_URL"]
    with open_api(api, services.environment) as client:
        flow = client.post("/flows/", json={"name": "taken over"}).json()["id"]
        pool = {"name": "taken-over", "type": "process", "base_job_template": job_template()}
        assert client.post("/work_pools/", json=pool).status_code == httpx.codes.CREATED
        wanted = {"name": "evil", "flow_id": flow, "work_pool_name": "taken-over", "job_variables": {"command": "touch taken"}}
        try:
            evil = {"Origin": "https://evil.example"}
            assert httpx.post(f"{api}/deployments/", json=wanted, headers=evil).status_code in {401, 403}
            asked = evil | {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
            preflight = httpx.options(f"{api}/deployments/", headers=asked)
            assert "access-control-allow-origin" not in preflight.headers
            forged = httpx.post(f"{api}/deployments/", json=wanted, auth=client.auth, headers=evil)
            assert forged.status_code == httpx.codes.FORBIDDEN, "a log-in that a browser adds is not enough"
            answer = client.post("/deployments/", json=wanted)
            assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
            assert "'command' was unexpected" in answer.text
        finally:
            client.delete("/work_pools/taken-over")
            client.delete(f"/flows/{flow}")


def test_a_reader_pulls_models_and_registers_none(demos, services, command, tmp_path):
    kept = json.loads((services.state / "secrets.json").read_text())
    url = services.environment["VITAU_MLFLOW_URL"]
    reader = {"MLFLOW_TRACKING_USERNAME": "reader", "MLFLOW_TRACKING_PASSWORD": kept["mlflow_reader_password"]}
    pull = ("vitau.cli", "pull", "models:/vitau-regions@champion", tmp_path / "model", "--tracking-uri", url)
    refused_pull = command(*pull)
    assert refused_pull.code == 1
    assert "Traceback" not in refused_pull.err
    assert not (tmp_path / "model").exists()
    done = command(*pull, env=reader)
    assert done.code == 0, done.err
    assert command("vitau.cli", "check", tmp_path / "model").code == 0
    log_in = tuple(reader.values())
    for method, path, body in (
        ("POST", "registered-models/create", {"name": "vitau-intruder"}),
        ("POST", "registered-models/alias", {"name": "vitau-regions", "alias": "champion", "version": "1"}),
        ("DELETE", "registered-models/delete", {"name": "vitau-regions"}),
        ("POST", "experiments/create", {"name": "intruder"}),
    ):
        answer = httpx.request(method, f"{url}/api/2.0/mlflow/{path}", json=body, auth=log_in)
        assert (answer.status_code, answer.text) == (403, "reader may read models and not change them")


def test_mlflow_runs_no_assistant_and_shows_no_empty_experiment(services):
    password = json.loads((services.state / "secrets.json").read_text())["mlflow_password"]
    with httpx.Client(base_url=services.environment["VITAU_MLFLOW_URL"], auth=("vitau", password), timeout=30) as admin:
        refused = admin.post("/ajax-api/3.0/mlflow/assistant/message", json={"message": "ls"})
        assert (refused.status_code, "it would run commands" in refused.text) == (403, True)
        default = admin.get("/api/2.0/mlflow/experiments/get", params={"experiment_id": "0"}).json()["experiment"]
        assert default["lifecycle_stage"] == "deleted"


def test_after_the_demo_no_file_is_readable_by_others(demos):
    for state in (demos.whole, demos.killed):
        open_ = [path for path in (state, *state.rglob("*")) if not path.is_symlink() and path.lstat().st_mode & 0o077]
        assert open_ == []


def test_a_link_to_a_picture_lives_five_minutes():
    assert PRESIGN_MIN == 5
