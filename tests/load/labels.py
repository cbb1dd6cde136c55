"""Submissions to a real Label Studio, and webhooks to the real receiver; both must end in the ledger."""

import csv
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from flows.local_stack import stack
from flows.settings import ROOT
from labeling.interface.answer import Answer
from labeling.label_studio.annotations import create_annotation
from labeling.label_studio.client import connect
from labeling.label_studio.pagination import list_tasks
from labeling.label_studio.projects import SECRET_HEADER
from tests.load.measure import Clock, Figures
from vitau.catalog.catalog import Catalog, open_catalog
from vitau.errors import LabelingError
from vitau.media.synthetic.cohort import write_cohort
from vitau.schema import AUS, Side

READERS: Final = tuple(f"reader-{number}" for number in range(10))
PATIENTS: Final = 5
PER_MINUTE: Final = 1000
SUBMISSIONS_PER_MINUTE: Final = 60
"""Real submissions beside the webhooks that only claim one."""
_SECRET: Final = "the secret of the load's webhooks"
_ANSWER: Final = Answer(affected={au: au is AUS[0] for au in AUS}, side=Side.LEFT)
_PULLED_WITHIN_S: Final = 600.0
_MOST_REFUSALS: Final = 500


@dataclass(frozen=True, kw_only=True)
class Study:
    """A running study: services, receiver, and a task per reader and patient."""

    client: Any
    catalog: Catalog
    receiver: str
    tasks: Sequence[int]
    project: int
    annotate: Callable[[], dict[str, Any]]

    def answers(self) -> Counter[str]:
        """Return how many rows the ledger has of each annotation."""
        return Counter(row.annotation for row in self.catalog.ledger())

    def wait_for(self, annotations: int) -> float:
        """Wait until the ledger has so many annotations, or until no more come; return the seconds."""
        began = time.monotonic()
        while len(self.answers()) < annotations and time.monotonic() - began < _PULLED_WITHIN_S:
            time.sleep(0.2)
        return time.monotonic() - began


@contextmanager
def running_study(state: Path) -> Iterator[Study]:
    """Start the services, ingest drawn patients, push a task to every reader, and start the receiver."""
    services = stack.start(state)
    receiver: subprocess.Popen[bytes] | None = None
    try:
        stack.wait(services, state, tell=lambda _: None)
        port = stack.choose_port("receiver")
        url = f"http://127.0.0.1:{port}/webhook"
        own = {"VITAU_READERS": json.dumps(READERS), "VITAU_WEBHOOK_URL": url, "VITAU_WEBHOOK_SECRET": _SECRET}
        environment = os.environ | own | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}

        def flows(*arguments: object) -> str:
            command = [sys.executable, "-m", "flows", *map(str, arguments), "--state", str(state)]
            done = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
            if done.returncode:
                raise RuntimeError(f"{' '.join(map(str, arguments))}: {done.stderr}")
            return done.stdout

        flows("ingest", _manifest(state))
        flows("annotate")
        settings = stack.environment(state, stack.running(state))
        client = connect(settings["VITAU_LABEL_STUDIO_URL"], settings["VITAU_LABEL_STUDIO_TOKEN"])
        projects = [project for project in client.projects.list(page_size=100) if project.title.startswith("ViTAU reader-")]
        with (state / "receiver.log").open("wb") as log:
            command = [sys.executable, "-m", "flows", "receive", "--port", str(port), "--state", str(state)]
            receiver = subprocess.Popen(command, env=environment, cwd=ROOT, stdout=log, stderr=log)
        _wait_for_receiver(url, receiver)
        yield Study(
            client=client,
            catalog=open_catalog(settings["VITAU_CATALOG"]),
            receiver=url,
            tasks=[task.id for project in projects for task in list_tasks(client, project)],
            project=projects[0].id,
            annotate=lambda: json.loads(flows("annotate")),
        )
    finally:
        if receiver is not None:
            receiver.terminate()
            receiver.wait()
        stack.stop(state)


def _manifest(state: Path) -> Path:
    """Draw people; return a manifest of the patients among them."""
    drawn = write_cohort(state / "cohort", 2 * PATIENTS, seed=11, frames_per_task=1, num_processes=1)
    with drawn.open(newline="") as file:
        rows = list(csv.DictReader(file))
    path = drawn.with_name("patients.csv")
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(row for row in rows if row["cohort"] == "palsy")
    return path


def _wait_for_receiver(url: str, process: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + 120
    while True:
        try:
            httpx.get(url.replace("/webhook", "/health"), timeout=5).raise_for_status()
        except httpx.HTTPError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise
            time.sleep(0.2)
        else:
            return


def submit_at_once(study: Study) -> Figures:
    """Submit an answer to every task at the same moment, and wait until the receiver has pulled all of them."""
    before = study.answers()
    together, clock, number = threading.Barrier(len(study.tasks)), Clock(), len(study.tasks)

    refused: list[int] = []

    def submit(task: int) -> None:
        together.wait()
        with clock.timed():
            _submit(study, task, refused)

    began = time.monotonic()
    with ThreadPoolExecutor(number) as pool:
        list(pool.map(submit, study.tasks))
    wall_s = time.monotonic() - began
    pulled_s = study.wait_for(len(before) + number)
    again = study.annotate()["new_answers"]
    return _figures(
        f"{number} simultaneous submissions",
        study,
        before,
        number,
        wall_s,
        clock,
        f"{len(refused)} refused first, pulled {pulled_s:.0f} s later",
        again,
    )


def send_for_a_minute(study: Study, seconds: float = 60.0) -> Figures:
    """Send webhooks at a steady rate, submit answers meanwhile, and wait until the receiver has pulled all of them."""
    before, statuses, clock, refused = study.answers(), list[int](), Clock(), list[int]()
    number, submissions = round(PER_MINUTE * seconds / 60), round(SUBMISSIONS_PER_MINUTE * seconds / 60)
    began = time.monotonic()

    def at(share: float) -> None:
        time.sleep(max(0.0, began + share * seconds - time.monotonic()))

    def send(index: int) -> None:
        at(index / number)
        with clock.timed():
            statuses.append(_send(study))

    def submit(index: int) -> None:
        at(index / submissions)
        _submit(study, study.tasks[index % len(study.tasks)], refused)

    with ThreadPoolExecutor(32) as hooks, ThreadPoolExecutor(8) as readers:
        sent = [
            *(hooks.submit(send, index) for index in range(number)),
            *(readers.submit(submit, index) for index in range(submissions)),
        ]
        for future in sent:
            future.result()
    wall_s = time.monotonic() - began
    pulled_s = study.wait_for(len(before) + submissions)
    again = study.annotate()["new_answers"]
    replies = ", ".join(f"{count}× {status}" for status, count in sorted(Counter(statuses).items()))
    note = f"{replies}; {submissions} submissions, {len(refused)} refused first, pulled {pulled_s:.0f} s later"
    return _figures(f"{number} webhooks in {seconds:.0f} s", study, before, submissions, wall_s, clock, note, again)


def _submit(study: Study, task: int, refused: list[int]) -> None:
    """Submit an answer; again where Label Studio refuses it (its SQLite is busy), as a reader does who sees the error."""
    while True:
        try:
            create_annotation(study.client, task, _ANSWER, lead_time_s=30.0)
        except LabelingError:
            refused.append(task)
            if len(refused) > _MOST_REFUSALS:
                raise
            time.sleep(1.0)
        else:
            return


def _send(study: Study) -> int:
    """Send what Label Studio sends after a submission; return the status."""
    event = {"action": "ANNOTATION_CREATED", "project": {"id": study.project}, "annotation": {"id": 1, "result": ["x" * 8000]}}
    return httpx.post(study.receiver, json=event, headers={SECRET_HEADER: _SECRET}, timeout=30).status_code


def _figures(
    name: str, study: Study, before: Counter[str], expected: int, wall_s: float, clock: Clock, note: str, again: int
) -> Figures:
    new = study.answers() - before
    wrong = study.catalog.broken_ledger_rows()
    return Figures(
        name=name,
        pieces=expected,
        lost=max(0, expected - len(new)),
        # Label Studio may have stored what it answered with an error; the newest answer of a reader stands
        duplicated=max(0, len(new) - expected) + sum(rows != len(AUS) for rows in new.values()) + len(wrong),
        wall_s=wall_s,
        latencies_s=clock.latencies_s,
        note=f"{note}; {again} rows only by the last round",
    )
