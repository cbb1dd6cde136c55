"""Five people of unknown status: scored by a command that is killed and given again, then one of them labeled and frozen."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from flows.annotation.consensus import resolve_consensus
from flows.promotion.registered_models import REGIONS
from flows.settings import Settings
from flows.workspace import Workspace
from tests.journeys.test_monitor import add_people, champion
from vitau.data import snapshot
from vitau.media.manifests import read_manifest
from vitau.media.synthetic.cohort import write_cohort
from vitau.schema import AUS, Cohort

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]

ROOT = Path(__file__).resolve().parents[2]
KNOWN, NEW = 24, 5
READERS = ("reader-a", "reader-b")


@dataclass(frozen=True, kw_only=True)
class Clinic:
    """A workspace with a champion, the environment of its commands, and a folder with new recordings and a broken one."""

    workspace: Workspace
    environment: dict[str, str]
    inbox: Path


@pytest.fixture(scope="module")
def clinic(services, own_mlflow, tmp_path_factory) -> Iterator[Clinic]:
    folder = tmp_path_factory.mktemp("clinic")
    environment = services.environment | {
        "VITAU_STORE": (folder / "store").as_uri(),
        "VITAU_CATALOG": f"sqlite:///{folder / 'catalog.db'}",
        "VITAU_SIGNING_KEY": "signs in these tests only",
        "VITAU_MLFLOW_URL": own_mlflow,
        "VITAU_WORK": str(folder / "work"),
        "VITAU_READERS": json.dumps(READERS),
        "VITAU_NUM_PROCESSES": "1",
    }
    settings = Settings(
        store=environment["VITAU_STORE"],
        catalog=SecretStr(environment["VITAU_CATALOG"]),
        pseudonym_key=SecretStr("the key of these tests"),
        signing_key=SecretStr(environment["VITAU_SIGNING_KEY"]),
        label_studio_url="http://127.0.0.1:9",
        label_studio_token=SecretStr("none"),
        mlflow_url=own_mlflow,
        work=folder / "work",
        readers=READERS,
    )
    workspace = Workspace(settings)
    champion(workspace, add_people(workspace, range(KNOWN), light=1.0))
    inbox = folder / "inbox"
    inbox.mkdir()
    for number, clip in enumerate(read_manifest(write_cohort(folder / "drawn", NEW, seed=12, frames_per_task=1))[0]):
        shutil.copy(clip.paths[0], inbox / f"Patient {number}.mp4")
    (inbox / "Patient 9.mp4").write_bytes(b"no video")
    yield Clinic(workspace=workspace, environment=environment, inbox=inbox)
    workspace.catalog.engine.dispose()


def unknown(clinic: Clinic) -> set[str]:
    return {subject.pseudonym for subject in clinic.workspace.catalog.subjects() if subject.cohort is Cohort.UNKNOWN}


def kill_after_the_first_clip(clinic: Clinic, out: Path) -> None:
    arguments = [sys.executable, "-m", "flows", "score-new", str(clinic.inbox), "--out", str(out)]
    process = subprocess.Popen(arguments, cwd=ROOT, env={**os.environ, **clinic.environment}, start_new_session=True)
    try:
        while not unknown(clinic):
            assert process.poll() is None, "it ended before a clip was recorded"
            time.sleep(0.05)
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def output_of(done: Any, *, code: int = 0) -> dict[str, Any]:
    assert done.code == code, done.err
    found: dict[str, Any] = json.loads(done.out)
    return found


def test_people_of_unknown_status_are_scored_after_a_kill_and_one_is_labeled_later_and_frozen(clinic, command, tmp_path):
    out, catalog = tmp_path / "out", clinic.workspace.catalog
    kill_after_the_first_clip(clinic, out)
    recorded = len(unknown(clinic))
    assert 1 <= recorded < NEW
    assert not out.exists()

    again = command("flows", "score-new", clinic.inbox, "--out", out, env=clinic.environment)
    counts = output_of(again, code=1)
    assert (counts["people"], counts["new_people"], counts["recordings"], counts["skipped"]) == (NEW, NEW, NEW, 1)
    assert counts["new_recordings"] <= NEW - recorded
    assert counts["champion"] == f"{REGIONS}/1"
    assert "Patient" not in again.err
    people = {Path(row["place"]).name: row["person"] for row in rows(out / "items.csv")}
    assert set(people.values()) == unknown(clinic) == {row["person"] for row in rows(out / "people.csv")}
    assert "Patient" not in (out / "report.html").read_text()
    repeated = command("flows", "score-new", clinic.inbox, "--out", out, env=clinic.environment)
    assert output_of(repeated, code=1) == counts | {"new_people": 0, "new_recordings": 0}

    later = people["Patient 0.mp4"]
    stated = command("flows", "labels", "cohort", later, "palsy", "--why", "seen in the clinic", env=clinic.environment)
    assert output_of(stated) == {"subject": later, "cohort": "palsy", "new": True}
    refused = command("flows", "labels", "cohort", later, "control", "--why", "a slip", env=clinic.environment)
    assert (refused.code, refused.err) == (
        1,
        f"Error: subject {later} is palsy and cannot be control too: correct the manifest\n",
    )

    patients = [subject.pseudonym for subject in catalog.subjects() if subject.cohort is Cohort.PALSY]
    study = write_answers(tmp_path / "study.csv", patients)
    imported = command("flows", "labels", "import", study, "--source", "clinic", env=clinic.environment)
    assert output_of(imported)["new"] == len(patients) * len(READERS) * len(AUS)
    agreed = resolve_consensus(clinic.workspace, catalog.ledger())
    catalog.set_labels(agreed.labels, ledger_offset=catalog.ledger_offset())

    frozen = output_of(command("flows", "freeze", env=clinic.environment))
    assert frozen["unknown"] == NEW - 1
    subjects = set(snapshot.load(clinic.workspace.store, frozen["snapshot"])["subject"].to_pylist())
    assert subjects & set(people.values()) == {later}
    assert len(subjects) == KNOWN + 1


def write_answers(path: Path, patients: list[str]) -> Path:
    """Write what two readers answered: the same, the mouth on the left side."""
    lines = [
        f"{name},{reader},{au},{'yes' if au in AUS[5:] else 'no'},left" for name in patients for reader in READERS for au in AUS
    ]
    path.write_text("\n".join(["subject,reader,au,affected,side", *lines]) + "\n")
    return path
