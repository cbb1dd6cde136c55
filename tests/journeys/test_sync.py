"""Synchronization of Label Studio with the ledger: kills after every write, restarts, restored backups, deletions, webhooks.

This module starts its own Label Studio, because it is killed and restored.
"""

import csv
import io
import json
import logging
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import cycle
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa
import uvicorn
from prefect.settings import (
    PREFECT_API_AUTH_STRING,
    PREFECT_API_URL,
    PREFECT_LOGGING_LEVEL,
    PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW,
    temporary_settings,
)
from pydantic import SecretStr

from flows.annotate import AnnotateSummary, annotate_workspace
from flows.annotation import checks
from flows.annotation.consensus import label_report
from flows.annotation.key_frames import find_stale_answers
from flows.annotation.pull_answers import PullOptions
from flows.annotation.task_queue import set_absent
from flows.execution.clip_worker import frames_version, ingest_clip
from flows.home.consensus_files import consensus_csv
from flows.home.page import gather_home
from flows.local_stack import stack
from flows.reports.labeling import labeling_progress
from flows.settings import Settings
from flows.workspace import Workspace
from labeling.consensus.csv_io import read_csv, write_csv
from labeling.interface.answer import Answer, to_result
from labeling.label_studio import benchmark
from labeling.label_studio.annotations import ReaderProject, create_annotation
from labeling.label_studio.client import connect
from labeling.label_studio.pagination import open_tasks
from labeling.label_studio.projects import Receiver, ensure_project
from labeling.label_studio.pull import pull
from labeling.label_studio.push import push
from labeling.label_studio.webhook import make_app
from labeling.sampling.tasks import build_task
from vitau.catalog.catalog import Catalog, ScoredSubject, open_catalog
from vitau.catalog.recordings import WITHDRAWN
from vitau.catalog.tables import clips
from vitau.errors import LabelingError
from vitau.measures.stored import measures_version
from vitau.media.frames import FrameRecipe
from vitau.media.manifests import SourceClip
from vitau.media.sources import pseudonym
from vitau.media.synthetic.cohort import write_clip, write_cohort
from vitau.media.synthetic.people import Person, draw_person
from vitau.schema import AU, AUS, Cohort, LedgerRow, Side, Split, Stage, Subject, case_name, parse_visit

pytestmark = [pytest.mark.journey, pytest.mark.timeout(900)]

SECRET = "a secret of these tests"
LEFT = Answer(affected={au: au is AU.AU12 for au in AUS}, side=Side.LEFT)
RIGHT = replace(LEFT, side=Side.RIGHT)


class Killed(BaseException):
    """Raised instead of a signal; no ``except Exception`` catches it."""


class KillSwitch:
    """Recorder of a round's writes to Label Studio and to the catalog, which ends the round after a given write.

    After it, the round reaches neither of them, as if its process had been killed. No persistent state changes between two
    writes, so that a kill after each write covers all others.
    """

    def __init__(self, last: Callable[[list[str]], bool] = lambda _: False) -> None:
        self.writes: list[str] = []
        self._last, self._killed, self._statements = last, False, list[str]()

    def check(self) -> None:
        """Raise ``Killed`` after the last write."""
        if self._killed:
            raise Killed(self.writes[-1])

    def record(self, write: str) -> None:
        self.writes.append(write)
        self._killed = self._killed or self._last(self.writes)

    def watch(self, engine: sa.Engine) -> None:
        """Record the writing transactions of a database."""
        sa.event.listen(engine, "before_cursor_execute", self._execute)
        sa.event.listen(engine, "commit", self._commit)

    def _execute(self, _connection: object, _cursor: object, statement: str, *_: object) -> None:
        self.check()
        if statement.startswith(("INSERT", "UPDATE", "DELETE")):
            self._statements.append(" ".join(statement.split()[:3]))

    def _commit(self, _: object) -> None:  # just before the database commits
        if self._statements:
            self.record(self._statements[0])
        self._statements.clear()


class SwitchedTransport(httpx.HTTPTransport):
    """HTTP transport that records writing requests in a switch and fails after its last write."""

    def __init__(self, switch: KillSwitch) -> None:
        super().__init__()
        self._switch = switch

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._switch.check()
        response = super().handle_request(request)
        if request.method != "GET":
            self._switch.record(f"{request.method} {request.url.path}")
        return response


@dataclass(frozen=True)
class Study:
    """A study of a few ingested people; every test works on a copy of the catalog."""

    store: Path
    catalog: Path
    palsied: tuple[str, ...]


@pytest.fixture(scope="module", autouse=True)
def prefect(services) -> Iterator[None]:
    """Connect the tasks to the session's Prefect server."""
    settings = {
        PREFECT_API_URL: services.environment["PREFECT_API_URL"],
        PREFECT_API_AUTH_STRING: services.environment["PREFECT_API_AUTH_STRING"],
        PREFECT_LOGGING_LEVEL: "CRITICAL",
        PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW: "ignore",
    }
    with temporary_settings(settings):
        yield


@pytest.fixture(scope="module")
def study(services, own_label_studio, command, tmp_path_factory) -> Study:
    folder = tmp_path_factory.mktemp("study")
    write_cohort(folder / "people", 6, seed=11, frames_per_task=1, num_processes=1)
    store = own_label_studio.state / "store"
    environment = services.environment | {
        "VITAU_STORE": store.as_uri(),
        "VITAU_CATALOG": f"sqlite:///{folder / 'catalog.db'}",
        "VITAU_WORK": str(folder / "work"),
        "VITAU_NUM_PROCESSES": "1",
    }
    done = command("flows", "ingest", folder / "people" / "manifest.csv", "--state", folder / "none", env=environment)
    assert done.code == 0, done.err
    catalog = open_catalog(environment["VITAU_CATALOG"])
    palsied = tuple(subject.pseudonym for subject in catalog.subjects() if subject.cohort == "palsy")
    catalog.engine.dispose()
    assert len(palsied) >= 3
    return Study(store=store, catalog=folder / "catalog.db", palsied=palsied)


@pytest.fixture
def client(own_label_studio) -> Iterator[Any]:
    """Return a client of a Label Studio without projects."""
    client = connect(own_label_studio.url, own_label_studio.token)
    for project in client.projects.list(page_size=100):
        client.projects.delete(project.id)
    return client


@dataclass(frozen=True, kw_only=True)
class SwitchedWorkspace(Workspace):
    """A workspace whose connections to Label Studio and to the catalog fail after the last write of a switch."""

    switch: KillSwitch

    @cached_property
    def catalog(self) -> Catalog:
        catalog = open_catalog(self.settings.catalog.get_secret_value())
        self.switch.watch(catalog.engine)
        return catalog

    @cached_property
    def label_studio(self) -> Any:
        url, token = self.settings.label_studio_url, self.settings.label_studio_token.get_secret_value()
        return connect(url, token, transport=SwitchedTransport(self.switch))


@pytest.fixture
def open_workspace(own_label_studio, study, tmp_path) -> Iterator[Callable[..., Workspace]]:
    """Return a function that opens the study with the catalog of a file."""
    opened = []

    def make(catalog: Path, switch: KillSwitch | None = None) -> Workspace:
        settings = Settings(
            store=study.store.as_uri(),
            catalog=SecretStr(f"sqlite:///{catalog}"),
            pseudonym_key=SecretStr("the same in every state: the same people"),
            label_studio_url=own_label_studio.url,
            label_studio_token=SecretStr(own_label_studio.token),
            mlflow_url="http://127.0.0.1:9",
            work=tmp_path / "work",
            readers=("a", "b"),
            agreement_floor=0.5,
        )
        opened.append(Workspace(settings) if switch is None else SwitchedWorkspace(settings, switch=switch))
        return opened[-1]

    yield make
    for workspace in opened:
        workspace.catalog.engine.dispose()


@pytest.fixture
def workspace(study, open_workspace, tmp_path) -> Workspace:
    return open_workspace(shutil.copy(study.catalog, tmp_path / "catalog.db"))


def run_round(workspace: Workspace, **options: bool) -> AnnotateSummary:
    """Run the steps of the flow, each a task of the session's Prefect."""
    return annotate_workspace(workspace, PullOptions(**options))


def project_of(client: Any, title: str) -> ReaderProject:
    (found,) = [project for project in client.projects.list(title=title, page_size=100) if project.title == title]
    stage = Stage.ADJUDICATION if title.endswith("adjudication") else Stage.READER
    made_at = found.created_at.isoformat()
    return ReaderProject(id=found.id, title=title, reader=title.removeprefix("ViTAU "), stage=stage, made_at=made_at)


def tasks_of(client: Any, title: str) -> dict[str, int]:
    """Return subject → number of its task; every subject has one."""
    tasks = list(client.tasks.list(project=project_of(client, title).id, page_size=100))
    assert len({task.data["subject"] for task in tasks}) == len(tasks)
    return {task.data["subject"]: task.id for task in tasks}


def submit(client: Any, title: str, subject: str, answer: Answer, seconds: float = 12.0) -> None:
    create_annotation(client, tasks_of(client, title)[subject], answer, lead_time_s=seconds)


def annotation_of(workspace: Workspace, reader: str, subject: str) -> int:
    rows = [row for row in workspace.catalog.ledger() if (row.reader, row.subject) == (reader, subject)]
    return int(rows[-1].annotation)


def test_killed_after_any_write_the_next_round_makes_the_same_ledger_and_no_duplicate_task(
    client, study, open_workspace, tmp_path
):
    first, second, *_ = study.palsied
    base = tmp_path / "base.db"
    workspace = open_workspace(shutil.copy(study.catalog, base))
    run_round(workspace)
    for reader in ("a", "b"):
        submit(client, f"ViTAU {reader}", first, LEFT)
        submit(client, f"ViTAU {reader}", second, LEFT)
    run_round(workspace)
    # since the last pull: a correction that causes a disagreement, a deletion, and one new person
    client.annotations.update(annotation_of(workspace, "a", first), result=to_result(RIGHT))
    client.annotations.delete(annotation_of(workspace, "b", second))
    workspace.catalog.engine.dispose()

    numbers = [project_of(client, f"ViTAU {title}").id for title in ("a", "b", "adjudication")]

    def tasks() -> list[dict[int, str]]:
        found = [list(client.tasks.list(project=number, page_size=100)) for number in numbers]
        return [{task.id: task.data["subject"] for task in tasks_found} for tasks_found in found]

    def delete_new_tasks() -> None:
        a, b, adjudication = tasks()
        new = [task for task, subject in (a | b).items() if subject == study.palsied[2]]
        for task in [*new, *adjudication]:
            client.tasks.delete(str(task))

    def state_of(workspace: Workspace) -> dict[str, Any]:
        catalog = workspace.catalog
        return {
            "ledger": catalog.ledger(),
            "labels": catalog.labels(),
            "unusable": catalog.unusable_frames(),
            "skipped": catalog.skipped(),
            "seen": [catalog.seen_annotations(state.project) for state in catalog.pull_states()],
            "tasks": [sorted(subjects.values()) for subjects in tasks()],
        }

    delete_new_tasks()
    undisturbed = KillSwitch()
    workspace = open_workspace(shutil.copy(base, tmp_path / "undisturbed.db"), undisturbed)
    run_round(workspace)
    writes = list(undisturbed.writes)
    expected = state_of(workspace)
    assert {row.retracted for row in expected["ledger"]} == {False, True}
    assert first in expected["tasks"][2]
    assert {re.sub(r"\d+", "N", write) for write in writes} == {
        *("INSERT INTO seen_annotations", "INSERT INTO ledger_details", "DELETE FROM skipped", "INSERT INTO pulls"),
        *("PATCH /api/projects/N/", "POST /api/projects/N/import", "DELETE FROM labels"),
    }
    for count in range(1, len(writes) + 1):
        delete_new_tasks()
        database = shutil.copy(base, tmp_path / f"{count}.db")
        switch = KillSwitch(lambda done, count=count: len(done) == count)
        with pytest.raises(Killed):
            run_round(open_workspace(database, switch))
        assert switch.writes == writes[:count]
        workspace = open_workspace(database)
        run_round(workspace)
        assert state_of(workspace) == expected, f"killed after write {count}: {writes[count - 1]}"
        workspace.catalog.engine.dispose()


def test_a_restored_backup_retracts_nothing_until_the_loss_is_accepted(client, workspace, study, own_label_studio, tmp_path):
    first, second, third, *_ = study.palsied
    run_round(workspace)
    submit(client, "ViTAU a", first, LEFT)
    own_label_studio.backup(tmp_path / "old.sqlite3")
    submit(client, "ViTAU a", second, LEFT)
    client.annotations.update(annotation_of_last(client, "ViTAU a", first), result=to_result(RIGHT))
    assert run_round(workspace).new_answers == 16
    before = workspace.catalog.ledger()

    own_label_studio.kill()
    own_label_studio.restore(tmp_path / "old.sqlite3")
    own_label_studio.start()
    submit(client, "ViTAU a", third, LEFT)  # gets the number of the answer about the second person
    summary = run_round(workspace)
    after = workspace.catalog.ledger()
    assert after[: len(before)] == before
    assert {row.subject for row in after[len(before) :]} == {third}
    assert annotation_of(workspace, "a", third) == annotation_of(workspace, "a", second)
    (notice,) = summary.notices
    assert notice == (
        "1 answers in project “ViTAU a” are gone and 1 are older than the known ones (an old backup of Label Studio was "
        "restored): the known answers stand; bring them back in Label Studio, or run `annotate --accept-deletions`"
    )
    assert run_round(workspace, whole=True).new_answers == 0

    run_round(workspace, accept_deletions=True)
    last = last_rows(workspace)
    assert (last["a", second].retracted, last["a", third].retracted) == (True, False)
    assert last["a", first].side is Side.LEFT
    assert run_round(workspace, whole=True) == replace(run_round(workspace), new_answers=0)
    assert run_round(workspace).notices == ()


def annotation_of_last(client: Any, title: str, subject: str) -> int:
    return int(client.tasks.get(str(tasks_of(client, title)[subject])).annotations[-1]["id"])


def last_rows(workspace: Workspace) -> dict[tuple[str, str], LedgerRow]:
    return {(row.reader, row.subject): row for row in workspace.catalog.ledger()}


def test_a_project_deleted_by_hand_keeps_its_answers_and_is_created_again_for_the_others(client, workspace, study):
    first, *others = study.palsied
    run_round(workspace)
    submit(client, "ViTAU a", first, LEFT)
    run_round(workspace)
    before = workspace.catalog.ledger()
    gone = project_of(client, "ViTAU a")
    client.projects.delete(gone.id)
    summary = run_round(workspace)
    assert workspace.catalog.ledger() == before
    assert sorted(tasks_of(client, "ViTAU a")) == sorted(others)
    (notice,) = summary.notices
    assert notice == (
        "project “ViTAU a” is not the one that was read before (deleted, or Label Studio set up anew): "
        "the 1 answers read from it stand; run `annotate --accept-deletions` to take them back"
    )
    with pytest.raises(LabelingError) as caught:
        pull(client, gone, study.palsied)
    assert str(caught.value) == (
        "a project was deleted in Label Studio during this run; its answers stand: run again to create it anew"
    )
    run_round(workspace, accept_deletions=True)
    assert last_rows(workspace)["a", first].retracted
    assert run_round(workspace).notices == ()
    assert sorted(tasks_of(client, "ViTAU a")) == sorted(study.palsied), "after a retraction, the person is asked about again"


def test_a_deleted_answer_is_retracted_by_the_next_round_and_may_be_given_again(client, workspace, study):
    first = study.palsied[0]
    run_round(workspace)
    submit(client, "ViTAU a", first, LEFT, seconds=7.5)
    run_round(workspace)
    assert {row.lead_time_s for row in workspace.catalog.ledger()} == {7.5}
    client.annotations.delete(annotation_of(workspace, "a", first))
    assert run_round(workspace).new_answers == 8
    assert last_rows(workspace)["a", first].retracted
    assert run_round(workspace).new_answers == 0
    submit(client, "ViTAU a", first, RIGHT)
    run_round(workspace)
    assert (last_rows(workspace)["a", first].retracted, last_rows(workspace)["a", first].side) == (False, Side.RIGHT)


def ingest_new_clip(workspace: Workspace, person: Person, drawn_as: Person, path: Path) -> str:
    """Ingest a new clip of ``person`` that shows ``drawn_as``, without the flow; return the pseudonym."""
    write_clip(path, drawn_as, frames_per_task=1, fps=5)
    source = SourceClip(row="row 1", subject_id=person.subject, cohort=Cohort.PALSY, source="synthetic", paths=(path,))
    new = ingest_clip(source, workspace.store, workspace.settings.pseudonym_key.get_secret_value().encode(), FrameRecipe())
    workspace.catalog.add_clip(new.clip)
    workspace.catalog.add_frame_table(new.frames)
    return new.clip.subject


def draft(server: Any, task: int) -> None:
    """Save the draft of an answer, as a reader's browser does before submission."""
    headers = {"Authorization": f"Token {server.token}"}
    body = {"result": to_result(LEFT), "lead_time": 3}
    httpx.post(f"{server.url}/api/tasks/{task}/drafts", headers=headers, json=body).raise_for_status()


def data_of(client: Any, title: str) -> dict[int, dict[str, Any]]:
    """Return number of a task → its data, in the order in which its reader gets them."""
    tasks = client.tasks.list(project=project_of(client, title).id, page_size=100, resolve_uri=False)
    return {task.id: task.data for task in sorted(tasks, key=lambda task: task.id)}


def test_open_tasks_about_a_person_who_withdrew_are_deleted_and_answered_ones_stay(client, workspace, study, own_label_studio):
    withdrawn, other, *_ = study.palsied
    run_round(workspace)
    submit(client, "ViTAU a", withdrawn, LEFT)
    draft(own_label_studio, tasks_of(client, "ViTAU b")[withdrawn])
    answers = run_round(workspace).new_answers
    with workspace.catalog.engine.connect().execution_options(writing=True) as connection, connection.begin():
        connection.execute(sa.update(clips).where(clips.c.subject == withdrawn).values(consent=WITHDRAWN))
    summary = run_round(workspace)
    assert (answers, summary.new_answers, summary.pushed) == (8, 0, 0)
    assert summary.notices == ("1 open tasks about people who withdrew their consent were deleted",)
    assert withdrawn in tasks_of(client, "ViTAU a")
    assert set(tasks_of(client, "ViTAU b")) == set(study.palsied) - {withdrawn}
    assert run_round(workspace).notices == (), "nothing is left to delete, and nothing is pushed again"
    assert other in tasks_of(client, "ViTAU b")


def test_new_frames_that_look_different_are_asked_about_again_and_the_old_answer_stands_until_then(
    client, workspace, open_workspace, study, own_label_studio, tmp_path
):
    patients = [person for person in (draw_person(11, index) for index in range(6)) if person.palsied]
    run_round(workspace)
    before = data_of(client, "ViTAU a")
    new = {"different": patients[1], "alike": patients[0], "open": patients[2]}
    drawn_as = {"different": patients[2], "alike": patients[0], "open": draw_person(12, 5, palsied=False)}
    key = workspace.settings.pseudonym_key.get_secret_value().encode()
    who = {kind: pseudonym(key, "synthetic", person.subject) for kind, person in new.items()}
    for reader in ("a", "b"):
        submit(client, f"ViTAU {reader}", who["different"], LEFT)
        submit(client, f"ViTAU {reader}", who["alike"], LEFT)
    run_round(workspace)
    before_new_clips = workspace.catalog.ledger(), workspace.catalog.labels()
    begun = tasks_of(client, "ViTAU b")[who["open"]]
    draft(own_label_studio, begun)
    assert [ingest_new_clip(workspace, new[kind], drawn_as[kind], tmp_path / f"{kind}.mp4") for kind in new] == list(
        who.values()
    )

    # killed three times, then undisturbed
    database = Path(workspace.catalog.engine.url.database)
    for write in ("INSERT INTO comparisons", "PATCH /api/tasks/", "POST .*/import"):
        switch = KillSwitch(lambda done, write=write: re.match(write, done[-1]) is not None)
        with pytest.raises(Killed, match=write):
            run_round(open_workspace(database, switch))
    summary = run_round(workspace)
    assert (summary.stale, summary.labeled, summary.new_answers) == (1, 2, 0)
    assert (workspace.catalog.ledger(), workspace.catalog.labels()) == before_new_clips
    for reader in ("a", "b"):
        after = data_of(client, f"ViTAU {reader}")
        asked = [(data["subject"], data["after"]) for data in after.values()]
        assert sorted(asked) == sorted([*((subject, 0) for subject in study.palsied), (who["different"], 1)])
    after = data_of(client, "ViTAU a")
    (renewed,) = [number for number, data in after.items() if data["subject"] == who["open"]]
    (again,) = [number for number, data in after.items() if data["after"] == 1]
    assert before[renewed]["subject"] == who["open"]
    old, now = ({frame.partition(":")[0] for frame in data[renewed]["frames"]} for data in (before, after))
    assert old < now, "the open task shows the newer clip as well"
    assert set(data_of(client, "ViTAU b")[begun]["frames"]) == set(before[renewed]["frames"]), (
        "reader b has begun this task: it is not renewed"
    )
    assert run_round(workspace) == replace(summary, pushed=0)
    assert data_of(client, "ViTAU a") == after
    done = labeling_progress(workspace)
    assert (done.stale, [reader.again for reader in done.readers]) == (1, [1, 1, 0])

    # reader a answers again and disagrees: reader b has not seen the newer frames and is waited for
    create_annotation(client, again, RIGHT)
    # reader a opened the page of this task before the newer clip came
    create_annotation(client, renewed, LEFT, lead_time_s=3600)
    summary = run_round(workspace)
    assert (summary.new_answers, summary.disputed, data_of(client, "ViTAU adjudication")) == (16, 1, {})
    last = last_rows(workspace)
    assert last["a", who["different"]].frames_shown == tuple(after[again]["frames"])
    assert last["a", who["open"]].frames_shown == tuple(before[renewed]["frames"])
    waiting = {(answer.reader, answer.subject) for answer in find_stale_answers(workspace, workspace.catalog.ledger())}
    assert waiting == {("b", who["different"]), ("a", who["open"])}
    (b_again,) = [number for number, data in data_of(client, "ViTAU b").items() if data["after"] == 1]
    create_annotation(client, b_again, RIGHT)
    assert run_round(workspace).stale == 0
    assert {label.subject: label.side for label in workspace.catalog.labels()}[who["different"]] is Side.RIGHT
    assert sorted((d["subject"], d["after"]) for d in data_of(client, "ViTAU a").values()) == sorted(
        [*((subject, 0) for subject in study.palsied), (who["different"], 1), (who["open"], 1)]
    )


def test_the_adjudicator_sees_suggestions_and_rules_again_after_the_readers_have_seen_newer_frames(
    client, workspace, study, tmp_path
):
    patients = [person for person in (draw_person(11, index) for index in range(6)) if person.palsied]
    key = workspace.settings.pseudonym_key.get_secret_value().encode()
    who = pseudonym(key, "synthetic", patients[0].subject)
    regions = {au.value: {"score": 0.25, "share_affected": 1.0} for au in AUS}
    catalog = workspace.catalog
    catalog.add_score(ScoredSubject(model_digest="d" * 64, subject=who, key="k", summary={"regions": regions}))
    tested = [f"{number}" * 20 for number in range(10)]
    for name in tested:
        cohort = Cohort.PALSY if int(name[0]) < 5 else Cohort.CONTROL
        catalog.add_subject(Subject(pseudonym=name, cohort=cohort, source="synthetic", synthetic=True))
    splits = {who: Split.TRAIN, **dict.fromkeys(tested, Split.TEST)}
    catalog.add_splits(splits, strata=dict.fromkeys(splits, "palsy"))
    run_round(workspace)
    submit(client, "ViTAU a", who, LEFT)
    submit(client, "ViTAU b", who, RIGHT)
    run_round(workspace)
    assert {data["suggestions"] for data in data_of(client, "ViTAU a").values()} == {None}
    (case,) = data_of(client, "ViTAU adjudication").values()
    assert case["suggestions"] == dict.fromkeys([au.value for au in AUS], 0.25)
    assert "Asymmetry of movement" in case["suggested"]
    assert [data for data in data_of(client, "ViTAU b").values() if data.get("measures_version") or data["suggested"]] == []
    submit(client, "ViTAU adjudication", who, LEFT)
    assert run_round(workspace).adjudicated == 1
    ruling = last_rows(workspace)["adjudicator", who]
    assert (ruling.suggestion, ruling.suggested_by) == (0.25, f"model {'d' * 12}")
    assert ruling.measures_shown == measures_version()
    assert {row.measures_shown for row in catalog.ledger() if row.stage is Stage.READER} == {None}

    ingest_new_clip(workspace, patients[0], patients[2], tmp_path / "new.mp4")
    assert (run_round(workspace).stale, len(data_of(client, "ViTAU adjudication"))) == (1, 1), (
        "the readers answer before the adjudicator"
    )
    for reader, answer in (("a", LEFT), ("b", RIGHT)):
        (again,) = [number for number, data in data_of(client, f"ViTAU {reader}").items() if data["after"] == 1]
        create_annotation(client, again, answer)
    summary = run_round(workspace)
    assert (summary.adjudicated, summary.stale) == (1, 1), "the old ruling stands until the new one"
    first, second = data_of(client, "ViTAU adjudication").items()
    assert (second[1]["subject"], second[1]["after"]) == (who, 1)
    assert set(first[1]["frames"]) != set(second[1]["frames"])
    create_annotation(client, second[0], RIGHT)
    assert run_round(workspace).stale == 0
    assert {label.subject: label.side for label in workspace.catalog.labels()} == {who: Side.RIGHT}


def test_a_suggestion_about_a_person_who_may_come_to_judge_models_leaves_the_open_task(client, workspace, study):
    who, *_ = study.palsied
    run_round(workspace)
    submit(client, "ViTAU a", who, LEFT)
    submit(client, "ViTAU b", who, RIGHT)
    run_round(workspace)
    ((number, case),) = data_of(client, "ViTAU adjudication").items()
    assert case["suggestions"] is None, "the person has no split yet"
    shown = {"suggestions": {"AU1": 0.4}, "suggested": "<table></table>", "suggested_by": "vitau-regions/1"}
    client.tasks.update(str(number), data=case | shown)  # as an earlier version pushed it
    run_round(workspace)
    ((same, case),) = data_of(client, "ViTAU adjudication").items()
    assert (same, case["suggestions"], case["suggested_by"]) == (number, None, None)
    assert case["suggested"] == case["measures"] != ""
    assert case["before"][-1]["suggestions"] == {"AU1": 0.4}, "an answer from a page that was open keeps what it showed"


def test_measures_leave_the_open_task_when_the_settings_show_them_no_longer(client, workspace, study):
    who, *_ = study.palsied
    run_round(workspace)
    submit(client, "ViTAU a", who, LEFT)
    submit(client, "ViTAU b", who, RIGHT)
    run_round(workspace)
    ((number, case),) = data_of(client, "ViTAU adjudication").items()
    assert case["measures_version"] == measures_version()
    hidden = Workspace(workspace.settings.model_copy(update={"show_measures": "nobody"}))
    vars(hidden)["catalog"] = workspace.catalog
    run_round(hidden)
    ((same, case),) = data_of(client, "ViTAU adjudication").items()
    assert (same, case["suggested"], case["measures_version"]) == (number, "", None)
    assert case["before"][-1]["measures_version"] == measures_version()
    submit(client, "ViTAU adjudication", who, LEFT)
    assert run_round(hidden).adjudicated == 1
    assert last_rows(workspace)["adjudicator", who].measures_shown == measures_version(), "the page may have been open"


def test_concurrent_pushes_leave_one_task_per_person_and_never_delete_an_answer(client, own_label_studio):
    store = (own_label_studio.state / "store").as_uri()
    project = ensure_project(client, "race", reader="a", stage=Stage.READER, store_uri=store)
    tasks = [build_task(f"s{number}", ["/x.jpg"], [f"c:{number}"]) for number in range(20)]
    both = threading.Barrier(2)

    class Meeting(httpx.HTTPTransport):
        """Transport that makes two pushes import their tasks before either lists them again."""

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            response = super().handle_request(request)
            if request.url.path.endswith("/import"):
                both.wait(timeout=60)
            return response

    def push_all() -> None:
        push(connect(own_label_studio.url, own_label_studio.token, transport=Meeting()), project, tasks)

    threads = [threading.Thread(target=push_all) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(tasks_of(client, "race")) == 20

    # an import that arrived twice, and the younger task has the answer
    client.projects.import_tasks(project.id, request=tasks[:2])
    younger = max(task.id for task in client.tasks.list(project=project.id, page_size=100) if task.data["subject"] == "s0")
    create_annotation(client, younger, LEFT)
    assert push(client, project, tasks) == 0
    assert tasks_of(client, "race")["s0"] == younger
    assert len(tasks_of(client, "race")) == 20


def test_a_task_deleted_by_a_concurrent_push_since_the_list_is_not_an_error(client, own_label_studio):
    store = (own_label_studio.state / "store").as_uri()
    project = ensure_project(client, "quicker", reader="a", stage=Stage.READER, store_uri=store)
    tasks = [build_task("s1", ["/x.jpg"], ["c:1"])]
    for _ in range(2):
        client.projects.import_tasks(project.id, request=tasks)
    answers = []

    class Overtaken(httpx.HTTPTransport):
        """Transport that runs another push before the first request for a single task."""

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            single = re.fullmatch(r"/api/tasks/(\d+)/?", request.url.path)
            if single and not answers:
                push(client, project, tasks)
            response = super().handle_request(request)
            if single:
                answers.append((int(single[1]), response.status_code))
            return response

    overtaken = connect(own_label_studio.url, own_label_studio.token, transport=Overtaken())
    assert push(overtaken, project, tasks) == 0
    (kept, found), (_, gone) = answers
    assert (found, gone) == (200, 404)
    assert tasks_of(client, "quicker") == {"s1": kept}


def test_requests_wait_for_a_server_that_restarts(client, own_label_studio):
    store = (own_label_studio.state / "store").as_uri()
    project = ensure_project(client, "restart", reader="a", stage=Stage.READER, store_uri=store)
    own_label_studio.kill()
    own_label_studio.start(wait=False)
    assert push(client, project, [build_task("s1", ["/x.jpg"], ["c:0"])]) == 1
    own_label_studio.kill()
    with pytest.raises(LabelingError) as caught:
        connect(own_label_studio.url, own_label_studio.token, retry_for_s=0.5)
    assert str(caught.value) == (
        f"{own_label_studio.url}: Label Studio does not answer (ConnectError); is it running, at this address?"
    )
    own_label_studio.start()


def test_the_benchmark_measures_and_deletes_its_projects(client, own_label_studio):
    store = (own_label_studio.state / "store").as_uri()
    lines: list[str] = []
    waited: list[float] = []
    measured = benchmark.measure(client, [10, 20], store_uri=store, report=lines.append, sleep=waited.append)
    assert set(measured["seconds"]) == set(measured["ms_per_subject"]) == {"10", "20"}
    assert set(measured["ratio"]) == {"push", "whole_pull"}
    assert all(seconds > 0 for size in measured["seconds"].values() for seconds in size.values())
    assert len(waited) == 2
    assert list(client.projects.list(page_size=100)) == []


@contextmanager
def receiving(hint: Callable[[int], None], secret: str = SECRET) -> Iterator[str]:
    """Run the webhook server on a free port; yield its URL."""
    port = stack.choose_port("receiver")
    server = uvicorn.Server(
        uvicorn.Config(make_app(secret, hint, quiet_s=1.5), host="127.0.0.1", port=port, log_config=None, access_log=False)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until(lambda: server.started)
        yield f"http://127.0.0.1:{port}/webhook"
    finally:
        server.should_exit = True
        thread.join()


def until(true: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "timed out"
        time.sleep(0.05)


def test_ten_answers_in_a_burst_are_one_pull_and_the_next_pull_reads_an_answer_without_a_request(client, own_label_studio):
    store = (own_label_studio.state / "store").as_uri()
    subjects = [f"s{number}" for number in range(11)]
    pulls: list[int] = []
    rows: list[LedgerRow] = []

    def on_hint(project: int) -> None:
        pulls.append(project)
        rows.extend(pull(connect(own_label_studio.url, own_label_studio.token), reader, subjects).rows)

    with receiving(on_hint) as url:
        receiver = Receiver(url=url, secret=SECRET)
        reader = ensure_project(client, "hints", reader="a", stage=Stage.READER, store_uri=store, receiver=receiver)
        ensure_project(client, "hints", reader="a", stage=Stage.READER, store_uri=store, receiver=receiver)
        assert len(client.webhooks.list(project=str(reader.id))) == 1
        push(client, reader, [build_task(subject, ["/x.jpg"], ["c:0"]) for subject in subjects])
        *burst, lost = open_tasks(client, reader)
        for task in burst:
            create_annotation(client, task.id, LEFT)
        until(lambda: rows)
        time.sleep(2)
        assert pulls == [reader.id]
        assert len(rows) == 10 * 8
    create_annotation(client, lost.id, LEFT)  # the server is stopped
    assert len(pull(client, reader, subjects).rows) == 11 * 8


def test_a_wrong_secret_is_refused_and_not_logged(client, own_label_studio, caplog):
    store = (own_label_studio.state / "store").as_uri()
    pulls: list[int] = []
    with caplog.at_level(logging.WARNING), receiving(pulls.append) as url:
        receiver = Receiver(url=url, secret="a wrong secret")
        reader = ensure_project(client, "impostor", reader="a", stage=Stage.READER, store_uri=store, receiver=receiver)
        push(client, reader, [build_task("s1", ["/x.jpg"], ["c:0"])])
        create_annotation(client, open_tasks(client, reader)[0].id, LEFT)
        until(lambda: caplog.records)
        assert httpx.post(url, json={}, headers={"X-ViTAU-Secret": "wrong"}).status_code == 401
    messages = [record.getMessage() for record in caplog.records if record.name == "labeling.label_studio.webhook"]
    assert set(messages) == {"refused a request: the secret in X-ViTAU-Secret is wrong"}
    assert pulls == []


def test_errors_of_the_command_are_one_sentence(own_label_studio, study, apart, command, client, tmp_path):
    environment = apart | {
        "VITAU_STORE": study.store.as_uri(),
        "VITAU_CATALOG": f"sqlite:///{shutil.copy(study.catalog, tmp_path / 'catalog.db')}",
        "VITAU_LABEL_STUDIO_URL": own_label_studio.url,
        "VITAU_LABEL_STUDIO_TOKEN": own_label_studio.token,
        "VITAU_READERS": json.dumps(["a", "b"]),
    }
    annotate = ("flows", "annotate", "--state", tmp_path / "none")
    assert command(*annotate, env=environment).code == 0
    first, second, *_ = study.palsied
    project = project_of(client, "ViTAU a")
    wrong = [{"from_name": "regions", "to_name": "face", "type": "choices", "value": {"choices": ["AU7"]}}]
    client.annotations.create(tasks_of(client, "ViTAU a")[first], result=wrong)
    client.projects.import_tasks(project.id, request=[build_task("nobody", ["/x.jpg"], ["c:0"])])
    submit(client, "ViTAU a", "nobody", LEFT)
    submit(client, "ViTAU a", second, LEFT)
    done = command(*annotate, env=environment)
    assert (done.code, json.loads(done.out)["new_answers"]) == (0, 8)
    assert done.err.splitlines() == [
        "1 of the answers of ViTAU a cannot be read and went back to their reader, with the reason",
        "1 of the answers of ViTAU a cannot be read; `flows status` shows why",
    ]
    done = command("flows", "status", "--state", tmp_path / "none", env=environment)
    assert done.code == 0, done.err
    unreadable, unknown = (
        f"project ViTAU a, task {tasks_of(client, 'ViTAU a')[who]}, annotation {annotation_of_last(client, 'ViTAU a', who)}: "
        for who in (first, "nobody")
    )
    assert done.out.splitlines()[-2:] == [
        unreadable + "unknown region AU7; the regions are AU1, AU2, AU4, AU6, AU9, AU12, AU25, AU26",
        unknown + "unknown subject; it was erased, or ViTAU did not create the task",
    ]
    done = command("flows", "receive", "--state", tmp_path / "none", env=environment)
    assert (done.code, done.err) == (
        1,
        "Error: the webhook server has no secret and would accept any request; set VITAU_WEBHOOK_SECRET\n",
    )


def copied_study(study: Study, catalog: Catalog, settings: Settings) -> Workspace:
    """Return a workspace with the people and clips of the study in an empty catalog, without answers."""
    source = open_catalog(f"sqlite:///{study.catalog}")
    for person in source.subjects():
        catalog.add_subject(person)
    for clip in source.clips():
        catalog.add_clip(clip)
    for table in source.frame_tables(frames_version()):
        catalog.add_frame_table(table)
    source.engine.dispose()
    opened = Workspace(settings)
    vars(opened)["catalog"] = catalog
    return opened


def test_two_of_five_readers_checks_and_visits_make_one_label_per_visit(
    client, workspace, study, new_catalog, monkeypatch, caplog
):
    """Five readers share the people: each person and visit has two of them, one goes away, and checks make no label."""
    design = {"readers": tuple("abcde"), "readers_per_person": 2, "check_share": 0.5, "queue": 1, "ask_severity": True}
    graded = replace(LEFT, severity={AU.AU12: 1}, synkinesis={AU.AU6: True, AU.AU12: False}, grade=4)
    catalog = new_catalog()
    workspace = copied_study(study, catalog, workspace.settings.model_copy(update=design))
    draw = cycle([0.9, 0.0, 0.99]).__next__  # a new person, a check, and of both kinds of it the second
    monkeypatch.setattr(checks, "mix_in", partial(checks.mix_in, draw=draw))
    person, other = study.palsied[:2]
    with catalog.engine.connect().execution_options(writing=True) as connection, connection.begin():
        connection.execute(sa.update(clips).where(clips.c.subject == other).values(subject=person, visit="week-12"))
    recovered, controls = f"{person}/week-12", {x.pseudonym for x in catalog.subjects() if x.cohort == Cohort.CONTROL}
    healthy = Answer(affected=dict.fromkeys(AUS, False))
    run_round(workspace)
    held = {task.subject for task in open_tasks(client, project_of(client, "ViTAU e"))}
    assert len(held) == 1
    assert set_absent(workspace, "e", absent=True)
    for _ in range(14):
        asked = 0
        for reader in "abcd":
            for task in open_tasks(client, project_of(client, f"ViTAU {reader}")):
                alarm = task.subject in controls and reader == "a"
                well = task.subject in {recovered, *controls}
                create_annotation(client, task.id, healthy if well and not alarm else graded, lead_time_s=9.0)
                asked += 1
        if not asked:
            break
        run_round(workspace)
    assert open_tasks(client, project_of(client, "ViTAU e")) == [], "the others got the people of the reader who is away"
    labels = {label.case: label for label in catalog.labels()}
    assert labels.keys() == {person, recovered, *study.palsied[2:]}
    assert labels[person].affected[AU.AU12]
    assert not any(labels[recovered].affected.values()), "who recovered does not keep the label of the first visit"
    rows = [row for row in workspace.newest_answers()[0] if row.check_kind is None]
    read_by = {case: {row.reader for row in rows if row.case == case} for case in labels}
    assert {len(readers) for readers in read_by.values()} == {2}
    assert "e" not in set().union(*read_by.values())
    report = label_report(workspace, num_resamples=20)
    found = {reader.reader: reader for reader in report.checks}
    assert sum(reader.num_controls for reader in found.values()) >= 1
    assert sum(reader.num_repeats for reader in found.values()) >= 1
    assert all(reader.false_alarms == (reader.num_controls if name == "a" else 0) for name, reader in found.items())
    assert all(reader.retest is None or reader.retest.kappa in {None, 1.0} for reader in found.values())
    assert report.severity_kappas.keys() == {"severity", "synkinesis", "grade"}
    check_exported_severities(workspace, person, recovered)
    tasks = [data for reader in "abcd" for data in data_of(client, f"ViTAU {reader}").values()]
    told = {name for data in tasks for name in data if "check" in name or "control" in name or "repeat" in name}
    assert told == set(), "nothing in a task tells that it is a check"
    assert catalog.broken_ledger_rows() == {}
    assert "cannot" not in caplog.text


def check_exported_severities(workspace: Workspace, person: str, recovered: str) -> None:
    """Check the consensus and the answers as CSV: only the first visit has severities."""
    header, *lines = csv.reader(io.StringIO(consensus_csv(gather_home(workspace, {}).rows)))
    exported = {case_name(line[0], parse_visit(line[1])): dict(zip(header, line, strict=True)) for line in lines}
    cells = ("AU12", "severity_AU12", "severity_AU6", "synkinesis_AU6", "synkinesis_AU12", "grade")
    assert [exported[person][cell] for cell in cells] == ["1", "1", "", "1", "0", "4"]
    assert [exported[recovered][cell] for cell in cells] == ["0", "", "", "", "", ""]
    assert read_csv(write_csv(workspace.catalog.ledger()), source="s", find_subject=str) == workspace.catalog.ledger()
