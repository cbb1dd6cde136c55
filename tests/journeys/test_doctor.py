"""The doctor with the real services: all checks pass, and broken configurations are found."""

import json
import os
from pathlib import Path

import pytest

from flows.doctor import label_studio
from flows.doctor import services as checks
from flows.doctor.findings import CheckFailedError
from flows.execution.prefect_api import open_api
from flows.settings import Settings, load_settings
from labeling.label_studio.projects import reconnect_store

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]

HEALTHY = {
    "packages",
    "dlib and its models",
    "h264",
    "settings",
    "objects",
    "rows",
    "Label Studio",
    "Label Studio: pictures",
    "Label Studio: a picture",
    "MLflow",
    "MLflow: files",
    "champions",
    "Prefect",
    "Prefect: schedules",
    "clocks",
}


@pytest.fixture
def settings(services, monkeypatch) -> Settings:
    for name, value in services.environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def changed(settings: Settings, **changes: str) -> Settings:
    return settings.model_copy(update=changes)


def test_the_services_and_the_demo_pass_every_check_and_no_secret_is_printed(demos, services, command):
    done = command("flows", "doctor", "--state", services.state, "--json")
    found = {finding["check"]: (finding["result"], finding["sentence"]) for finding in json.loads(done.out)}
    assert {name: found[name] for name in HEALTHY if found[name][0] != "ok"} == {}
    assert done.code == 0, [finding for finding in found.values() if finding[0] == "failed"]
    assert found["MLflow"][1].endswith("and the files of vitau-regions 1 can be read")
    secrets = json.loads((services.state / "secrets.json").read_text()).values()
    assert [secret for secret in secrets if secret in done.out + done.err] == []


def test_a_wrong_token_is_found_and_is_in_the_table(services, command, tmp_path):
    wrong = services.environment | {"VITAU_LABEL_STUDIO_TOKEN": "f" * 40}
    done = command("flows", "doctor", "--state", tmp_path / "none", env=wrong | {"COLUMNS": "200"})
    assert done.code == 1
    assert "refuses VITAU_LABEL_STUDIO_TOKEN: take the one from its page Account & Settings" in done.out
    assert "f" * 40 not in done.out + done.err


def test_a_store_that_label_studio_does_not_serve_is_found(demos, settings, tmp_path):
    with pytest.raises(CheckFailedError, match=f"LOCAL_FILES_DOCUMENT_ROOT={tmp_path}"):
        label_studio.pictures(changed(settings, store=tmp_path.as_uri()))


def test_a_picture_that_readers_do_not_see_is_found_and_a_moved_store_is_followed(demos, settings, client):
    elsewhere = Path(settings.store.removeprefix("file://")) / "elsewhere"
    elsewhere.mkdir()
    for project in client.projects.list():
        for storage in client.import_storage.local.list(project=project.id):
            client.import_storage.local.update(storage.id, path=str(elsewhere), project=project.id)
    try:
        with pytest.raises(CheckFailedError, match=r"does not show the first picture of project \d+ \(404\)"):
            label_studio.shown_picture(settings)
    finally:
        num_projects = reconnect_store(client, settings.store)
        elsewhere.rmdir()
    assert num_projects >= 3
    assert reconnect_store(client, settings.store) == 0, "nothing moved"
    assert label_studio.shown_picture(settings).endswith("opens as in a reader's browser")


def test_an_address_of_another_service_is_found(settings):
    with pytest.raises(CheckFailedError, match="is not MLflow: correct VITAU_MLFLOW_URL"):
        checks.mlflow(changed(settings, mlflow_url=settings.label_studio_url))
    with pytest.raises(CheckFailedError, match="PREFECT_API_URL ends in /api"):
        checks.prefect(os.environ["PREFECT_API_URL"].removesuffix("/api"))


def test_a_run_that_no_worker_takes_is_found(settings):
    api = os.environ["PREFECT_API_URL"]
    client = open_api(api)
    flow = client.post("/flows/", json={"name": "late"}).json()["id"]
    late = {"type": "SCHEDULED", "name": "Late", "state_details": {"scheduled_time": "2026-01-01T00:00:00Z"}}
    run = client.post("/flow_runs/", json={"flow_id": flow, "state": late}).json()["id"]
    try:
        with pytest.raises(CheckFailedError, match=r"^1 runs are late: no worker takes them"):
            checks.prefect(api)
    finally:
        client.delete(f"/flow_runs/{run}")
        client.delete(f"/flows/{flow}")
        client.close()
