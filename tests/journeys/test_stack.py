"""The demo's data through the deployments of the full stack on one machine: from clips to champions and a report.

PostgreSQL, SeaweedFS, Label Studio, MLflow, Prefect's server, workers and the receiver are real and started for this module.
A worker is killed twice on the way. People are drawn and readers simulated, as in `make demo`.
"""

import csv
import json
import os
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias
from uuid import uuid4

import boto3
import psutil
import pytest
import sqlalchemy as sa

from flows.cli.demo import DRAWN_IDENTITY_FLOOR
from flows.demo import SEED, read_truth
from flows.execution.prefect_api import open_api
from flows.execution.training_process import run_training
from flows.local_stack import stack
from flows.local_stack.databases import SUPERUSER, WRITER, database_url
from flows.local_stack.services import gpu_workers
from flows.promotion.registered_models import PALSY, REGIONS
from labeling.interface.answer import Answer, to_result
from labeling.label_studio import simulated_readers
from labeling.label_studio.annotations import ReaderProject
from labeling.label_studio.client import connect
from tests.journeys import intruder
from vitau.catalog import tables
from vitau.catalog.catalog import Catalog, ScoredSubject, open_catalog
from vitau.catalog.rekeying.keys import PseudonymKeys
from vitau.media.synthetic.cohort import write_cohort
from vitau.progress import stopwatch
from vitau.schema import Cohort, RegionLabels, Side, Split, Stage, tombstone
from vitau.store import Store, open_store

pytestmark = [pytest.mark.journey, pytest.mark.full, pytest.mark.slow, pytest.mark.timeout(3600)]

SUBJECTS, PALSIED = 160, 80
POPULATION = 2026
READERS = ("reader-a", "reader-b")
QUIET_S = 15
STARTED_BY_HAND = {
    "VITAU_IDENTITY_FLOOR": DRAWN_IDENTITY_FLOOR,
    "VITAU_IDENTITY_WARNING": DRAWN_IDENTITY_FLOOR,
    "VITAU_RETRAIN_CELLS": str(8 * PALSIED),
    "VITAU_RETRAIN_QUIET_S": str(QUIET_S),
    "VITAU_NUM_PROCESSES": "2",
}


@dataclass(frozen=True, kw_only=True)
class Full:
    """The running stack."""

    state: Path
    inbox: Path
    environment: dict[str, str]

    catalog: Catalog

    def service(self, name: str) -> stack.Service:
        return next(service for service in stack.recorded_services(self.state) if service.name == name)


class Prefect:
    """A client of Prefect's REST API."""

    def __init__(self, url: str) -> None:
        self._http = open_api(url, timeout_s=60)

    def start(self, deployment: str, *, state: str = "SCHEDULED", **parameters: Any) -> str:
        """Create a run of a deployment, named flow/name, and return its id."""
        found = self._get(f"/deployments/name/{deployment}")
        body = {"parameters": parameters, "state": {"type": state}}
        reply = self._http.post(f"/deployments/{found['id']}/create_flow_run", json=body)
        reply.raise_for_status()
        return str(reply.json()["id"])

    def run(self, deployment: str, **parameters: Any) -> dict[str, Any]:
        return self.ended(self.start(deployment, **parameters))

    def ended(self, run: str) -> dict[str, Any]:
        """Wait until a run is over; a crashed one is scheduled again and is not over."""
        return wait_for(
            lambda: self.state(run) in {"COMPLETED", "FAILED", "CANCELLED"} and self._get(f"/flow_runs/{run}"), 1500
        )

    def state(self, run: str) -> str:
        return str(self._get(f"/flow_runs/{run}")["state_type"])

    def states(self, run: str) -> list[str]:
        """Return the names of a run's states in order."""
        return [state["name"] for state in self._get("/flow_run_states/", flow_run_id=run)]

    def runs(self, flow: str, *states: str) -> list[dict[str, Any]]:
        """Return the runs of a flow, without those scheduled for later."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
        wanted: dict[str, Any] = {"flows": {"name": {"any_": [flow]}}, "flow_runs": {"expected_start_time": {"before_": now}}}
        if states:
            wanted["flow_runs"]["state"] = {"type": {"any_": list(states)}}
        reply = self._http.post("/flow_runs/filter", json=wanted)
        reply.raise_for_status()
        return list(reply.json())

    def log(self, run: str) -> str:
        reply = self._http.post("/logs/filter", json={"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"})
        return "\n".join(line["message"] for line in reply.json())

    def beat(self, run: str) -> None:
        """Send one heartbeat for a run."""
        event = {
            "occurred": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "event": "prefect.flow-run.heartbeat",
            "resource": {"prefect.resource.id": f"prefect.flow-run.{run}"},
            "id": str(uuid4()),
        }
        self._http.post("/events", json=[event]).raise_for_status()

    def pause(self, pool: str, queue: str) -> None:
        self._http.patch(f"/work_pools/{pool}/queues/{queue}", json={"is_paused": True}).raise_for_status()

    def close(self) -> None:
        self._http.close()

    def _get(self, path: str, **query: str) -> Any:
        reply = self._http.get(path, params=query)
        reply.raise_for_status()
        return reply.json()


Scored: TypeAlias = "tuple[dict[str, bytes], list[ScoredSubject]]"
"""The objects of a scoring by key, and its rows."""


@dataclass(frozen=True, kw_only=True)
class Story:
    """Everything recorded from the first clip to the report."""

    seconds: dict[str, float]
    ingested: dict[str, Any]
    num_clips: int
    notes: list[str]
    synced: dict[str, Any]
    retrainings: list[dict[str, Any]]
    retraining_states: list[str]
    left_running: list[psutil.Process]
    rescored: dict[str, Any]
    history: Any
    reports: list[bytes]
    rescoring_states: list[str]
    orphaned_run_states: list[str]
    orphaned_run_log: str
    training_log: str
    num_held_out: int
    weights: bytes
    undisturbed_weights: bytes
    scored: Scored
    undisturbed_scored: Scored


@pytest.fixture(scope="module")
def full(command, tmp_path_factory) -> Iterator[Full]:
    """Start the stack as an operator does, while the people are drawn."""
    inbox = tmp_path_factory.mktemp("inbox")
    drawing = threading.Thread(target=write_cohort, args=(inbox, SUBJECTS, POPULATION))
    drawing.start()
    state = Path(tempfile.mkdtemp(prefix="vitau-stack-"))  # PostgreSQL's user may not enter pytest's folder
    try:
        wanted = {**STARTED_BY_HAND, "VITAU_WATCH": str(inbox)}
        done = command("flows", "up", "--state", state, "--profile", "full", env=wanted)
        assert done.code == 0, done.err
        assert [line.split()[0] for line in done.out.splitlines()][:-4] == [
            service.name for service in stack.recorded_services(state)
        ]
        drawing.join()
        environment = stack.environment(state, stack.running(state))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(boto3, "DEFAULT_SESSION", None)  # it caches the keys of the first session
            catalog = open_catalog(environment["VITAU_CATALOG"])
            yield Full(state=state, inbox=inbox, environment=environment, catalog=catalog)
            catalog.engine.dispose()
    finally:
        stack.stop(state)
        shutil.rmtree(state, ignore_errors=True)


@pytest.fixture(scope="module")
def prefect(full) -> Iterator[Prefect]:
    client = Prefect(full.environment["PREFECT_API_URL"])
    yield client
    client.close()


@pytest.fixture(scope="module")
def story(full, prefect, command, tmp_path_factory) -> Story:
    seconds: dict[str, float] = {}
    # no worker runs it: one heartbeat, then silence
    orphaned_run = prefect.start("erase/erase", state="RUNNING", subject="nobody")
    prefect.beat(orphaned_run)
    store = open_store(full.environment["VITAU_STORE"])
    with stopwatch(seconds, "ingest"):
        ingested = prefect.run("ingest-new/ingest")
    num_clips, notes = len(full.catalog.clips()), list(store.keys("ingested/"))
    with stopwatch(seconds, "annotate"):
        synced = prefect.run("sync-labels/sync-labels")
        answer_everything(full, prefect)
    with stopwatch(seconds, "retrain"):
        first = wait_for(lambda: prefect.runs("freeze-and-retrain"), 180)[0]["id"]
        wait_for(
            lambda: any(store.keys("checkpoints/")) or prefect.state(first) not in {"SCHEDULED", "PENDING", "RUNNING"}, 1200
        )
        left = kill_worker(full, at_least=2)  # the run and a training
        prefect.ended(first)
    with stopwatch(seconds, "rescore"):
        second = wait_for(lambda: prefect.runs("rescore-champion"), 60)[0]["id"]
        wait_for(lambda: any(store.keys("scores/")), 300)
        left += kill_worker(full, at_least=1)
        rescored = prefect.ended(second)
    history = command("flows", "history", "--json", "--state", full.state)
    reports = [store.get(key) for key in store.keys("reports/") if key.endswith("/report.html")]
    retrainings = prefect.runs("freeze-and-retrain")
    scored, undisturbed_scored = scored_twice(full, store, prefect)
    weights, undisturbed_weights = trained_twice(full, store, tmp_path_factory.mktemp("undisturbed"))
    prefect.ended(orphaned_run)
    return Story(
        seconds=seconds,
        ingested=ingested,
        num_clips=num_clips,
        notes=notes,
        synced=synced,
        retrainings=retrainings,
        retraining_states=prefect.states(first),
        left_running=left,
        rescored=rescored,
        history=history,
        reports=reports,
        rescoring_states=prefect.states(second),
        orphaned_run_states=prefect.states(orphaned_run),
        orphaned_run_log=prefect.log(orphaned_run),
        training_log=prefect.log(first),
        num_held_out=full.catalog.snapshots()[-1].subjects[Split.TEST],
        weights=weights,
        undisturbed_weights=undisturbed_weights,
        scored=scored,
        undisturbed_scored=undisturbed_scored,
    )


def wait_for(found: Callable[[], Any], seconds: float) -> Any:
    """Poll until a function returns something true, and return that."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, f"nothing after {seconds:.0f} s"
        time.sleep(0.2)
    return value


def kill_worker(full: Full, *, at_least: int) -> list[psutil.Process]:
    """Send SIGKILL to the worker of the GPU pool; return its child processes that still run half a minute later."""
    worker = psutil.Process(full.service(gpu_workers()[0]).pid)
    family = [*worker.children(recursive=True)]
    assert len(family) >= at_least, "it runs nothing"
    os.kill(worker.pid, signal.SIGKILL)
    _, left = psutil.wait_procs(family, timeout=30)
    return [process for process in left if process.memory_info().rss]  # one that ended and was not reaped has none


def trained_twice(full: Full, store: Store, out: Path) -> tuple[bytes, bytes]:
    """Return the weights of the registered recognition, and of the same training run directly and undisturbed."""
    recipe = "tiny-palsy+movement"
    (trained,) = [
        training for training in full.catalog.trainings(full.catalog.snapshots()[-1].digest) if training.recipe == recipe
    ]
    work = Path(full.environment["VITAU_WORK"])
    (pretrained,) = [path.parent for path in work.glob("pretrained/*/metrics.json") if '"tiny-palsy"' in path.read_text()]
    arguments = ["--recipe", recipe, "--store", store.uri, "--snapshot", trained.snapshot, "--out", str(out)]
    run_training("x", [*arguments, "--pretrained", str(pretrained)], lambda *_: None, num_at_once=os.cpu_count() or 1)
    (key,) = [key for key in store.keys(f"{trained.model_key}/model/") if key.endswith(".safetensors")]
    (path,) = (out / "model").glob("*.safetensors")
    return store.get(key), path.read_bytes()


def scored_twice(full: Full, store: Store, prefect: Prefect) -> tuple[Scored, Scored]:
    """Return the results of the scoring whose worker was killed, and those of an undisturbed one from scratch."""

    def scored() -> Scored:
        return {key: store.get(key) for key in sorted(store.keys("scores/"))}, full.catalog.scores()

    disturbed = scored()
    store.erase("scores/")
    with full.catalog.engine.begin() as connection:
        connection.execute(sa.delete(tables.scores))
    assert prefect.run("rescore-champion/rescore")["state_type"] == "COMPLETED"
    return disturbed, scored()


def keys_of(store: Store, person: str) -> list[str]:
    every: Iterator[str] = store.keys()
    return [key for key in every if person in key]


def label_studio(full: Full) -> Any:
    return connect(full.environment["VITAU_LABEL_STUDIO_URL"], full.environment["VITAU_LABEL_STUDIO_TOKEN"])


def project(client: Any, reader: str) -> ReaderProject:
    title = f"ViTAU {reader}"
    (found,) = [listed for listed in client.projects.list(title=title, page_size=100) if listed.title == title]
    stage = Stage.ADJUDICATION if reader == "adjudication" else Stage.READER
    return ReaderProject(id=found.id, title=title, reader=reader, stage=stage, made_at=found.created_at.isoformat())


def answer_everything(full: Full, prefect: Prefect) -> None:
    """Answer everything: simulated readers all at once, each answer a webhook, then the adjudicator until all have labels."""
    client = label_studio(full)
    truths = read_truth(full.inbox / "truth.csv", PseudonymKeys(present=full.environment["VITAU_PSEUDONYM_KEY"].encode()))
    num_answered = 0
    while new := sum(
        simulated_readers.answer_open_tasks(client, project(client, reader), truths, seed=SEED) for reader in READERS
    ):
        num_answered += new
        prefect.run("sync-labels/sync-labels")  # the next people come into the queues
    assert num_answered == len(READERS) * PALSIED

    def all_labeled() -> bool:
        simulated_readers.answer_open_tasks(
            client, project(client, "adjudication"), truths, seed=SEED, accuracy=simulated_readers.ADJUDICATOR_ACCURACY
        )
        return len(full.catalog.labels()) == PALSIED

    wait_for(all_labeled, 300)


def test_every_listening_port_of_the_full_profile_refuses_requests_without_credentials(full):
    ports, found = intruder.passed(intruder.pids(full.state))
    assert found == []
    assert set(ports) == {service.name for service in stack.recorded_services(full.state)}
    assert all(ports.values())


def test_every_program_of_the_full_profile_connects_to_its_own_database_as_its_own_role(full, story):
    addresses = {service.name: service.url for service in stack.recorded_services(full.state)}
    as_superuser = database_url(full.state, addresses, "postgres", driver="psycopg", role=SUPERUSER)
    query = sa.text(
        "SELECT DISTINCT usename, datname FROM pg_stat_activity WHERE datname IS NOT NULL AND pid <> pg_backend_pid()"
    )
    services = {(name, name) for name in ("label_studio", "mlflow", "prefect")}
    connected: set[tuple[str, str]] = set()
    engine = sa.create_engine(as_superuser)

    def all_seen() -> bool:
        with engine.connect() as connection:
            connected.update((row.usename, row.datname) for row in connection.execute(query))
        return services <= connected

    enough = threading.Event()
    requests = threading.Thread(target=ask_label_studio, args=(full, enough))
    requests.start()
    try:
        wait_for(all_seen, 60)
    finally:
        enough.set()
        requests.join()
        engine.dispose()
    assert connected <= services | {(WRITER, "vitau")}


def ask_label_studio(full: Full, enough: threading.Event) -> None:
    """Send one request after another: Label Studio holds a connection to its database only while it answers."""
    client = label_studio(full)
    while not enough.is_set():
        list(client.projects.list(page_size=1))


def test_no_other_user_of_the_machine_reads_a_file_of_the_full_profile(full):
    others = full.state.stat().st_mode & 0o077
    assert others in {0, 0o010}, "as root, the group of PostgreSQL's user passes through"
    below = [path for path in full.state.rglob("*") if not path.is_symlink() and path.lstat().st_mode & 0o077]
    assert [path for path in below if path.suffix != ".vif"] == [], (
        "SeaweedFS sets the mode of these itself, in a closed folder"
    )


def test_a_manifest_in_the_watched_folder_is_ingested_by_its_deployment(story):
    assert story.ingested["state_type"] == "COMPLETED", story.ingested
    assert (story.num_clips, len(story.notes)) == (SUBJECTS, 1)


def test_a_burst_of_answers_is_one_retraining_after_the_readers_paused(story):
    assert story.synced["state_type"] == "COMPLETED", story.synced
    assert len(story.retrainings) == 1


def test_a_worker_killed_during_a_training_leaves_no_orphaned_process_and_another_one_finishes(story):
    assert story.left_running == []
    assert story.retrainings[0]["state_type"] == "COMPLETED", story.training_log
    assert [name for name in story.retraining_states if name in {"Crashed", "AwaitingRetry"}] == ["Crashed", "AwaitingRetry"]
    assert "training tiny-palsy+movement: " in story.training_log, "the output of a training is not in the log of its run"


def test_both_models_are_promoted_by_the_policy_for_patients_and_signed(story):
    assert story.history.code == 0, story.history.out + story.history.err
    decisions = json.loads(story.history.out)
    assert [(decision["model"], decision["action"], decision["after"]) for decision in decisions] == [
        (PALSY, "promoted", 1),
        (REGIONS, "promoted", 1),
    ]
    for decision in decisions:
        assert (decision["by"], decision["problem"]) == ("flow retrain", None)
        assert decision["verdict"]["policy"]["name"] == "patients"
        print(*(reason["sentence"] for reason in decision["verdict"]["reasons"]), sep="\n")
    print(story.seconds)


def test_a_killed_training_ends_with_the_weights_of_an_undisturbed_one(story):
    assert story.weights == story.undisturbed_weights


def test_another_worker_finishes_a_killed_scoring_and_writes_the_report(story):
    assert story.rescored["state_type"] == "COMPLETED", story.rescored
    assert "Crashed" in story.rescoring_states
    (report,) = story.reports
    assert b"Facial palsy: people held out from training" in report
    assert b"synthetic" in report


def test_a_killed_scoring_ends_with_the_objects_of_an_undisturbed_one(story):
    objects, rows = story.scored
    assert len(rows) == story.num_held_out
    assert any(key.endswith(".jpg") for key in objects)
    assert (objects, rows) == story.undisturbed_scored


def test_a_run_without_heartbeats_is_marked_as_crashed_and_scheduled_again(story):
    on_the_way = {"Pending", "Running", "Submitting", "Late"}
    assert [name for name in story.orphaned_run_states if name not in on_the_way] == ["Crashed", "AwaitingRetry", "Failed"]
    assert "no subject nobody is in the catalog: check the pseudonym" in story.orphaned_run_log


def test_the_poll_finds_answers_without_a_webhook_and_requests_one_retraining(full, story, prefect):
    prefect.pause("gpu", "retrain")  # no third training is needed
    receiver = psutil.Process(full.service("receiver").pid)
    receiver.suspend()
    client = label_studio(full)
    labels = {answer.subject: answer for answer in full.catalog.labels()}
    try:
        for reader in READERS:
            contradict_everything(client, project(client, reader), labels)
        prefect.run("sync-labels/sync-labels")
        time.sleep(QUIET_S)
        for _ in range(2):
            prefect.run("sync-labels/sync-labels")
        assert len(prefect.runs("freeze-and-retrain")) == 2
    finally:
        receiver.resume()  # and receives the webhooks of before
    time.sleep(QUIET_S)
    requested = sorted(datetime.fromisoformat(run["created"]) for run in prefect.runs("freeze-and-retrain"))
    assert len(requested) == 2
    answered = max(datetime.fromisoformat(row.answered_at) for row in full.catalog.ledger() if not row.retracted)
    assert (requested[1] - answered).total_seconds() >= QUIET_S, "the readers had not paused"


def contradict_everything(client: Any, project: ReaderProject, labels: Mapping[str, RegionLabels]) -> None:
    """Change every answer to the opposite of the label."""
    for task in client.tasks.list(project=project.id, fields="all", page_size=100):
        affected = {au: not value for au, value in labels[task.data["subject"]].affected.items()}
        answer = Answer(affected=affected, side=Side.LEFT if any(affected.values()) else None)
        client.annotations.update(task.annotations[0]["id"], result=to_result(answer))


def test_an_erased_person_is_gone_and_is_not_ingested_again(full, story, prefect):
    store, client = open_store(full.environment["VITAU_STORE"]), label_studio(full)
    splits = full.catalog.splits()
    person = next(answer.subject for answer in full.catalog.labels() if splits[answer.subject] is Split.TRAIN)
    assert prefect.run("erase/erase", subject=person)["state_type"] == "COMPLETED"
    assert keys_of(store, person) == []
    assert person not in {subject.pseudonym for subject in full.catalog.subjects()}
    assert person not in {clip.subject for clip in full.catalog.clips()}
    assert person not in {answer.subject for answer in full.catalog.labels()}
    for reader in READERS:
        assert person not in {task.data["subject"] for task in client.tasks.list(project=project(client, reader).id)}
    rows = list(full.catalog.ledger())
    assert person not in {row.subject for row in rows}
    assert all(row.retracted and row.note is None for row in rows[-8:] if row.subject == tombstone(person))
    (erasure,) = full.catalog.erasures()
    assert erasure.finished_at is not None
    assert set(erasure.receipt["traces_found"].values()) == {0}
    assert erasure.trainings == ["vitau-palsy/1", "vitau-regions/1"]
    assert store.erase("ingested/") == 1  # as if the manifest were new
    assert prefect.run("ingest-new/ingest")["state_type"] == "COMPLETED"
    assert len(full.catalog.clips()) == SUBJECTS - 1
    assert keys_of(store, person) == []
    assert any("its recording was erased with a person" in item.reason for item in full.catalog.skipped())


def test_people_of_unknown_status_in_the_watched_folder_are_scored_by_their_deployment(full, story, prefect):
    manifest = write_cohort(full.inbox / "strangers", 2, POPULATION + 1)
    with manifest.open(newline="") as file:
        rows = list(csv.DictReader(file))
    with manifest.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows({**row, "cohort": Cohort.UNKNOWN.value} for row in rows)
    assert prefect.run("ingest-new/ingest")["state_type"] == "COMPLETED"
    strangers = {subject.pseudonym for subject in full.catalog.subjects() if subject.cohort is Cohort.UNKNOWN}
    assert len(strangers) == 2
    wait_for(lambda: strangers <= {score.subject for score in full.catalog.scores()}, 300)
    store = open_store(full.environment["VITAU_STORE"])
    pages = wait_for(lambda: [store.get(key).decode() for key in store.keys("reports/new-")], 120)
    assert all(any(name in page for page in pages) for name in strangers)


def test_a_crashed_service_is_restarted(full, story):
    before = full.service("mlflow")
    os.killpg(before.pid, signal.SIGKILL)
    wait_for(lambda: full.service("mlflow").pid not in {0, before.pid} and stack.is_healthy(full.service("mlflow")), 90)
    assert full.service("mlflow").url == before.url
