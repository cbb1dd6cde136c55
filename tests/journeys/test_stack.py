"""The demo's data through the deployments of the whole stack on one machine: from clips to champions and a report.

PostgreSQL, SeaweedFS, Label Studio, MLflow, Prefect's server, workers and the receiver are the real ones, of this module's own.
A worker is killed twice on the way. People are drawn, readers are simulated: those of `make demo`.
"""

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
import httpx
import psutil
import pytest
import sqlalchemy as sa

from flows.__main__ import DRAWN_IDENTITY_FLOOR
from flows.demo import SEED, read_truth, stopwatch
from flows.execution.training_process import run_training
from flows.local_stack import stack
from flows.local_stack.services import gpu_workers
from flows.promotion.registered_models import PALSY, REGIONS
from labeling.interface.config import Answer, to_result
from labeling.label_studio import simulated_readers
from labeling.label_studio.annotations import ReaderProject
from labeling.label_studio.client import connect
from vitau.catalog import tables
from vitau.catalog.catalog import Catalog, ScoredSubject, open_catalog
from vitau.media.synthetic.cohort import write_cohort
from vitau.schema import RegionLabels, Side, Split, Stage
from vitau.store import Store, open_store

pytestmark = [pytest.mark.journey, pytest.mark.full, pytest.mark.slow, pytest.mark.timeout(3600)]

SUBJECTS, PALSIED = 160, 80
POPULATION = 2026
READERS = ("reader-a", "reader-b")
QUIET_S = 15
STARTED_BY_HAND = {
    "VITAU_IDENTITY_FLOOR": DRAWN_IDENTITY_FLOOR,
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
        return next(service for service in stack.written(self.state) if service.name == name)


class Prefect:
    """Prefect's own API, as its page speaks it."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=60)

    def start(self, deployment: str, *, state: str = "SCHEDULED", **parameters: Any) -> str:
        """Asks for a run of a deployment, called flow/name; returns its id."""
        found = self._get(f"/deployments/name/{deployment}")
        asked = {"parameters": parameters, "state": {"type": state}}
        reply = self._http.post(f"/deployments/{found['id']}/create_flow_run", json=asked)
        reply.raise_for_status()
        return str(reply.json()["id"])

    def run(self, deployment: str, **parameters: Any) -> dict[str, Any]:
        return self.ended(self.start(deployment, **parameters))

    def ended(self, run: str) -> dict[str, Any]:
        """Waits until a run is over for good: a crashed one is scheduled again."""
        return wait_for(
            lambda: self.state(run) in {"COMPLETED", "FAILED", "CANCELLED"} and self._get(f"/flow_runs/{run}"), 1500
        )

    def state(self, run: str) -> str:
        return str(self._get(f"/flow_runs/{run}")["state_type"])

    def states(self, run: str) -> list[str]:
        """What a run went through."""
        return [state["name"] for state in self._get("/flow_run_states/", flow_run_id=run)]

    def runs(self, flow: str, *states: str) -> list[dict[str, Any]]:
        """The runs of a flow, without those that the schedule holds for later."""
        now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 1))
        wanted: dict[str, Any] = {"flows": {"name": {"any_": [flow]}}, "flow_runs": {"expected_start_time": {"before_": now}}}
        if states:
            wanted["flow_runs"]["state"] = {"type": {"any_": list(states)}}
        reply = self._http.post("/flow_runs/filter", json=wanted)
        reply.raise_for_status()
        return list(reply.json())

    def say(self, run: str) -> str:
        reply = self._http.post("/logs/filter", json={"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC"})
        return "\n".join(line["message"] for line in reply.json())

    def beat(self, run: str) -> None:
        """Sends one heartbeat for a run."""
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
    """What happened from the first clip to the report."""

    seconds: dict[str, float]
    ingested: dict[str, Any]
    num_clips: int
    notes: list[str]
    synced: dict[str, Any]
    retrainings: list[dict[str, Any]]
    retraining_states: list[str]
    left_of_the_killed: list[psutil.Process]
    rescored: dict[str, Any]
    history: Any
    reports: list[bytes]
    rescoring_states: list[str]
    zombie_states: list[str]
    zombie_said: str
    said: str
    num_held_out: int
    weights: bytes
    undisturbed_weights: bytes
    scored: Scored
    undisturbed_scored: Scored


@pytest.fixture(scope="module")
def full(command, tmp_path_factory) -> Iterator[Full]:
    """The stack, started as an operator does, while the people are drawn."""
    inbox = tmp_path_factory.mktemp("inbox")
    drawing = threading.Thread(target=write_cohort, args=(inbox, SUBJECTS, POPULATION))
    drawing.start()
    state = Path(tempfile.mkdtemp(prefix="vitau-stack-"))  # PostgreSQL's user may not enter pytest's folder
    state.chmod(0o755)
    try:
        wanted = {**STARTED_BY_HAND, "VITAU_WATCH": str(inbox)}
        done = command("flows", "up", "--state", state, "--profile", "full", env=wanted)
        assert done.code == 0, done.err
        assert [line.split()[0] for line in done.out.splitlines()][:-1] == [each.name for each in stack.written(state)]
        drawing.join()
        environment = stack.environment(state, stack.running(state))
        with pytest.MonkeyPatch.context() as patch:
            for name, value in environment.items():
                patch.setenv(name, value)
            patch.setattr(boto3, "DEFAULT_SESSION", None)  # it remembers the keys of whoever came first
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
    zombie = prefect.start("erase/erase", state="RUNNING", subject="nobody")  # nobody runs it; one sign of life, then silence
    prefect.beat(zombie)
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
    prefect.ended(zombie)
    return Story(
        seconds=seconds,
        ingested=ingested,
        num_clips=num_clips,
        notes=notes,
        synced=synced,
        retrainings=retrainings,
        retraining_states=prefect.states(first),
        left_of_the_killed=left,
        rescored=rescored,
        history=history,
        reports=reports,
        rescoring_states=prefect.states(second),
        zombie_states=prefect.states(zombie),
        zombie_said=prefect.say(zombie),
        said=prefect.say(first),
        num_held_out=full.catalog.snapshots()[-1].subjects[Split.TEST],
        weights=weights,
        undisturbed_weights=undisturbed_weights,
        scored=scored,
        undisturbed_scored=undisturbed_scored,
    )


def wait_for(found: Callable[[], Any], seconds: float) -> Any:
    """Looks until something is there."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, f"nothing after {seconds:.0f} s"
        time.sleep(0.2)
    return value


def kill_worker(full: Full, *, at_least: int) -> list[psutil.Process]:
    """Kills the worker of the GPU pool without a warning; returns what of its family is still there half a minute later."""
    worker = psutil.Process(full.service(gpu_workers()[0]).pid)
    family = [*worker.children(recursive=True)]
    assert len(family) >= at_least, "it runs nothing"
    os.kill(worker.pid, signal.SIGKILL)
    _, left = psutil.wait_procs(family, timeout=30)
    return [process for process in left if process.status() != psutil.STATUS_ZOMBIE]


def trained_twice(full: Full, store: Store, out: Path) -> tuple[bytes, bytes]:
    """The weights of the recognition that was registered, and of the same training, undisturbed and directly."""
    recipe = "tiny-palsy"
    (trained,) = [each for each in full.catalog.trainings(full.catalog.snapshots()[-1].digest) if each.recipe == recipe]
    work = Path(full.environment["VITAU_WORK"])
    (pretrained,) = [path.parent for path in work.glob("pretrained/*/metrics.json") if f'"{recipe}"' in path.read_text()]
    arguments = ["--recipe", recipe, "--store", store.uri, "--snapshot", trained.snapshot, "--out", str(out)]
    run_training("x", [*arguments, "--pretrained", str(pretrained)], lambda *_: None, num_at_once=os.cpu_count() or 1)
    (key,) = [key for key in store.keys(f"{trained.model_key}/model/") if key.endswith(".safetensors")]
    (path,) = (out / "model").glob("*.safetensors")
    return store.get(key), path.read_bytes()


def scored_twice(full: Full, store: Store, prefect: Prefect) -> tuple[Scored, Scored]:
    """What the scoring left whose worker was killed, and what an undisturbed one leaves when all of that is gone."""

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
    (found,) = [each for each in client.projects.list(title=title, page_size=100) if each.title == title]
    stage = Stage.ADJUDICATION if reader == "adjudication" else Stage.READER
    return ReaderProject(id=found.id, title=title, reader=reader, stage=stage, made_at=found.created_at.isoformat())


def answer_everything(full: Full, prefect: Prefect) -> None:
    """Let the demo's simulated readers answer all at once, each answer a webhook, and the adjudicator until all have labels."""
    client = label_studio(full)
    truths = read_truth(full.inbox / "truth.csv", full.environment["VITAU_PSEUDONYM_KEY"].encode())
    num_answered = 0
    while new := sum(simulated_readers.answer_open_tasks(client, project(client, each), truths, seed=SEED) for each in READERS):
        num_answered += new
        prefect.run("sync-labels/sync-labels")  # the next people come into the queues
    assert num_answered == len(READERS) * PALSIED

    def labelled() -> bool:
        simulated_readers.answer_open_tasks(
            client, project(client, "adjudication"), truths, seed=SEED, accuracy=simulated_readers.ADJUDICATOR_ACCURACY
        )
        return len(full.catalog.labels()) == PALSIED

    wait_for(labelled, 300)


def test_a_manifest_in_the_watched_folder_is_ingested_by_its_deployment(story):
    assert story.ingested["state_type"] == "COMPLETED", story.ingested
    assert (story.num_clips, len(story.notes)) == (SUBJECTS, 1)


def test_a_burst_of_answers_is_one_retraining_after_the_readers_paused(story):
    assert story.synced["state_type"] == "COMPLETED", story.synced
    assert len(story.retrainings) == 1


def test_a_worker_killed_in_mid_training_leaves_nothing_running_and_another_one_finishes(story):
    assert story.left_of_the_killed == []
    assert story.retrainings[0]["state_type"] == "COMPLETED", story.said
    assert [name for name in story.retraining_states if name in {"Crashed", "AwaitingRetry"}] == ["Crashed", "AwaitingRetry"]
    assert "training tiny-palsy: " in story.said, "what a training says is not in the log of its run"


def test_both_models_are_promoted_by_the_policy_for_patients_and_signed(story):
    assert story.history.code == 0, story.history.out + story.history.err
    decisions = json.loads(story.history.out)
    assert [(each["model"], each["action"], each["after"]) for each in decisions] == [
        (PALSY, "promoted", 1),
        (REGIONS, "promoted", 1),
    ]
    for decision in decisions:
        assert (decision["by"], decision["problem"]) == ("flow retrain", None)
        assert decision["verdict"]["policy"]["name"] == "patients"
        print(*(reason["sentence"] for reason in decision["verdict"]["reasons"]), sep="\n")
    print(story.seconds)


def test_what_the_killed_training_gave_is_what_an_undisturbed_one_gives(story):
    assert story.weights == story.undisturbed_weights


def test_a_worker_killed_in_mid_scoring_leaves_its_rest_to_another_and_a_report_is_there(story):
    assert story.rescored["state_type"] == "COMPLETED", story.rescored
    assert "Crashed" in story.rescoring_states
    (report,) = story.reports
    assert b"Facial palsy: people held out from training" in report
    assert b"synthetic" in report


def test_what_the_killed_scoring_gave_is_what_an_undisturbed_one_gives(story):
    objects, rows = story.scored
    assert len(rows) == story.num_held_out
    assert any(key.endswith(".jpg") for key in objects)
    assert (objects, rows) == story.undisturbed_scored


def test_a_run_that_is_silent_is_called_crashed_and_run_by_somebody(story):
    on_the_way = {"Pending", "Running", "Submitting", "Late"}
    assert [name for name in story.zombie_states if name not in on_the_way] == ["Crashed", "AwaitingRetry", "Failed"]
    assert "no subject nobody is in the catalog: check the pseudonym" in story.zombie_said


def test_what_no_webhook_told_the_poll_finds_and_that_is_one_retraining_too(full, story, prefect):
    prefect.pause("gpu", "retrain")  # it need not be trained once more
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
        receiver.resume()  # and hears the hints of before
    time.sleep(QUIET_S)
    asked = sorted(datetime.fromisoformat(run["created"]) for run in prefect.runs("freeze-and-retrain"))
    assert len(asked) == 2
    answered = max(datetime.fromisoformat(row.answered_at) for row in full.catalog.ledger() if not row.retracted)
    assert (asked[1] - answered).total_seconds() >= QUIET_S, "the readers had not paused"


def contradict_everything(client: Any, project: ReaderProject, labels: Mapping[str, RegionLabels]) -> None:
    """Says of everybody the opposite of their label."""
    for task in client.tasks.list(project=project.id, fields="all", page_size=100):
        affected = {au: not value for au, value in labels[task.data["subject"]].affected.items()}
        said = Answer(affected=affected, side=Side.LEFT if any(affected.values()) else None)
        client.annotations.update(task.annotations[0]["id"], result=to_result(said))


def test_an_erased_person_is_nowhere_and_is_not_taken_in_again(full, story, prefect):
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
    assert all(row.retracted for row in list(full.catalog.ledger())[-8:] if row.subject == person)
    (erasure,) = full.catalog.erasures()
    assert erasure.trainings == ["vitau-palsy/1", "vitau-regions/1"]
    assert store.erase("ingested/") == 1  # as if the manifest were new
    assert prefect.run("ingest-new/ingest")["state_type"] == "COMPLETED"
    assert len(full.catalog.clips()) == SUBJECTS - 1
    assert keys_of(store, person) == []
    assert any("was erased and is not taken in again" in item.reason for item in full.catalog.skipped())


def test_a_crashed_service_comes_back(full, story):
    before = full.service("mlflow")
    os.killpg(before.pid, signal.SIGKILL)
    wait_for(lambda: full.service("mlflow").pid not in {0, before.pid} and stack.healthy(full.service("mlflow")), 90)
    assert full.service("mlflow").url == before.url
