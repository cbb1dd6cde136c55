"""The page of `vitau serve`: uploads, progress, results, limits, and who may use it."""

import base64
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from vitau.media.synthetic.cohort import write_clip
from vitau.media.synthetic.people import draw_person
from vitau.serving.app import MEBIBYTE, Access, make_app
from vitau.serving.jobs import Jobs, State, file_name
from vitau.serving.server import read_token, session_folder
from vitau.serving.work import measure

pytestmark = pytest.mark.slow
TOKEN = "a token of this test, long enough"
HERE = "http://127.0.0.1:8700"


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("clip") / "person.mp4"
    write_clip(path, draw_person(4, 1, palsied=True), frames_per_task=2)
    return path.read_bytes()


def client_of(folder: Path, **access) -> TestClient:
    jobs = Jobs(folder, measure)
    app = make_app(jobs, Access(**{"host": "127.0.0.1", "token": None, "max_bytes": 8 * MEBIBYTE} | access))
    client = TestClient(app, base_url=HERE)
    client.jobs = jobs
    return client


@pytest.fixture
def client(tmp_path):
    with client_of(tmp_path) as opened:
        yield opened


def wait_for(client, number: int, *states: State) -> dict:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = client.get(f"/recordings/{number}").json()
        if found["state"] in states:
            return found
        time.sleep(0.1)
    raise AssertionError(f"recording {number} is still {found}")


def test_a_clip_is_measured_and_its_report_and_tables_can_be_read_until_it_is_deleted(client, clip, tmp_path):
    sent = client.post("/recordings", params={"name": "Anna, visit 2.mp4"}, content=clip)
    assert (sent.status_code, sent.json()["state"]) == (202, "waiting")
    done = wait_for(client, 1, State.DONE, State.FAILED)
    assert (done["state"], done["reason"], done["name"]) == ("done", "", "Anna, visit 2.mp4")
    assert (done["done"], done["total"]) == (14, 14)
    report = client.get(done["report"]).text
    assert "Anna, visit 2" in report
    assert "https://" not in report.replace("https://doi.org", "")
    assert set(done["files"]) == {"measures.csv", "measures.xlsx", "people.csv", "series.csv", "overlay.mp4"}
    assert client.get(done["files"]["measures.xlsx"]).content.startswith(b"PK")
    assert client.get(done["files"]["overlay.mp4"]).content[4:8] == b"ftyp"
    table = client.get(done["files"]["series.csv"])
    assert table.headers["content-disposition"] == 'attachment; filename="series.csv"'
    assert len(table.text.splitlines()) == 15
    assert client.get("/recordings/1/files/..%2f..%2frecording.mp4").status_code == 404
    assert client.delete("/recordings/1").status_code == 204
    assert client.get("/recordings/1").status_code == 404
    assert [path.name for path in tmp_path.iterdir()] == []


def test_a_file_that_is_no_recording_fails_with_its_reason_and_the_next_is_measured(client, clip):
    client.post("/recordings", params={"name": "notes.mp4"}, content=b"no video at all")
    client.post("/recordings", params={"name": "clip.mp4", "video": False}, content=clip)
    assert client.get("/recordings/2/report").status_code == 409
    failed = wait_for(client, 1, State.DONE, State.FAILED)
    assert failed["state"] == "failed"
    assert failed["reason"]
    assert wait_for(client, 2, State.DONE, State.FAILED)["state"] == "done"
    assert client.get("/recordings/1/report").status_code == 409


def test_a_decoder_that_is_killed_fails_its_recording_only(client, clip):
    client.post("/recordings", params={"name": "clip.mp4"}, content=clip)
    client.post("/recordings", params={"name": "clip.mp4", "video": False}, content=clip)
    wait_for(client, 1, State.RUNNING)
    while client.jobs._process is None:
        time.sleep(0.01)
    client.jobs._process.kill()
    assert "ended unexpectedly" in wait_for(client, 1, State.DONE, State.FAILED)["reason"]
    assert wait_for(client, 2, State.DONE, State.FAILED)["state"] == "done"


def test_a_running_recording_can_be_deleted(client, clip, tmp_path):
    client.post("/recordings", params={"name": "clip.mp4"}, content=clip)
    wait_for(client, 1, State.RUNNING)
    assert client.delete("/recordings/1").status_code == 204
    client.post("/recordings", params={"name": "clip.mp4", "video": False}, content=clip)
    assert wait_for(client, 2, State.DONE, State.FAILED)["state"] == "done"
    assert [path.name for path in tmp_path.iterdir()] == ["0002"]


def test_a_recording_that_is_too_large_or_empty_leaves_nothing(tmp_path):
    with client_of(tmp_path, max_bytes=MEBIBYTE) as client:
        large = client.post("/recordings", params={"name": "clip.mp4"}, content=b"x" * (MEBIBYTE + 1))
        assert (large.status_code, "--max-mb" in large.json()["detail"]) == (413, True)
        assert client.post("/recordings", params={"name": "clip.mp4"}, content=b"").status_code == 400
        assert client.get("/recordings").json() == []
    assert list(tmp_path.iterdir()) == []


def test_other_hosts_and_other_pages_are_refused(client):
    assert client.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert client.get("/", headers={"Host": "localhost:8700"}).status_code == 200
    for origin in ("https://evil.example", "http://127.0.0.1:9999", "null"):
        sent = client.post("/recordings", params={"name": "a.mp4"}, content=b"x", headers={"Origin": origin})
        assert sent.status_code == 403, origin
        assert client.delete("/recordings/1", headers={"Origin": origin}).status_code == 403
    assert client.post("/recordings", params={"name": "a.mp4"}, content=b"", headers={"Origin": HERE}).status_code == 400


def test_every_address_asks_for_the_token_where_there_is_one(tmp_path):
    given = {"Authorization": "Basic " + base64.b64encode(f"anybody:{TOKEN}".encode()).decode()}
    wrong = {"Authorization": "Basic " + base64.b64encode(b"anybody:another").decode()}
    with client_of(tmp_path, host="192.0.2.7", token=TOKEN, hosts=("clinic.example",)) as client:
        client.base_url = "http://clinic.example"
        paths = [route.path.replace("{number}", "1").replace("{name}", "people.csv") for route in client.app.routes]
        assert {"/", "/docs", "/openapi.json", "/page.js", "/recordings", "/recordings/1"} <= set(paths)
        for path in paths:
            assert [client.get(path).status_code, client.get(path, headers=wrong).status_code] == [401, 401], path
        assert client.get("/", headers=given).status_code == 200
        assert client.get("/openapi.json", headers=given).status_code == 200


def test_pages_load_nothing_from_elsewhere_and_are_not_stored(client):
    for path in ("/", "/docs", "/page.js"):
        reply = client.get(path)
        assert reply.headers["cache-control"] == "no-store"
        assert "https://" not in reply.text
    page = client.get("/docs").text
    assert "/recordings/{number}/files/{name}" in page
    assert client.get("/openapi.json").json()["info"]["title"] == "ViTAU"


def test_a_page_that_others_reach_needs_a_long_token(monkeypatch):
    monkeypatch.delenv("VITAU_SERVE_TOKEN", raising=False)
    assert read_token("127.0.0.1") is None
    with pytest.raises(ValueError, match="set VITAU_SERVE_TOKEN"):
        read_token("192.0.2.7")
    monkeypatch.setenv("VITAU_SERVE_TOKEN", "short")
    with pytest.raises(ValueError, match="has 5 characters"):
        read_token("127.0.0.1")
    monkeypatch.setenv("VITAU_SERVE_TOKEN", TOKEN)
    assert read_token("192.0.2.7") == TOKEN


def test_nothing_is_kept_after_the_session_unless_asked(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with session_folder(None) as folder:
        (folder / "face.jpg").write_bytes(b"a face")
        assert folder.stat().st_mode & 0o77 == 0
    assert not folder.exists()
    with session_folder(tmp_path / "kept") as folder:
        (folder / "face.jpg").write_bytes(b"a face")
    assert (tmp_path / "kept/face.jpg").exists()
    with pytest.raises(ValueError, match="is not empty"), session_folder(tmp_path / "kept"):
        pass


@pytest.mark.parametrize("ending", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stopped_server_leaves_no_recording(clip, tmp_path, ending):
    command = [sys.executable, "-m", "vitau.cli", "serve", "--port", "0"]
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as server:
        try:
            address = server.stdout.readline().strip()
            sent = httpx.post(f"{address}recordings", params={"name": "clip.mp4"}, content=clip)
            assert sent.status_code == 202
            assert list(tmp_path.rglob("clip.mp4"))
            server.send_signal(ending)
            assert server.wait(timeout=60) == 0
        finally:
            server.kill()
    assert list(tmp_path.rglob("sessions/*")) == []


@pytest.mark.parametrize(
    ("name", "safe"),
    [
        ("Anna, visit 2.mp4", "Anna, visit 2.mp4"),
        ("../../etc/passwd", "passwd"),
        ("C:\\clips\\anna.MOV", "anna.MOV"),
        ("..", "recording"),
        ("", "recording"),
        (".mp4", "mp4"),
        ("a\nb\x00.mp4", "ab.mp4"),
        ("x" * 300 + ".mp4", "x" * 100 + ".mp4"),
    ],
)
def test_a_file_name_from_a_browser_stays_in_its_folder(name, safe):
    assert file_name(name) == safe
