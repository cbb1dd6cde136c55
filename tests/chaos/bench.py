"""The bench of the chaos runs: a finished demo, its services, and one pair of a flow and a fault at a time."""

import json
import os
import subprocess
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final, Self
from uuid import uuid4

from flows.local_stack import stack
from tests.chaos import backends, workspaces
from tests.chaos.faults import Backend, Fault, kill, s3_proxy
from tests.chaos.launcher import Launcher, Process
from tests.chaos.services import SHARED, SharedServices
from tests.chaos.workspaces import Place, contents, copy_for, folder_place

CLIPS: Final = 4
LIMIT_S: Final = 900.0
"""Seconds after which a run counts as hanging, and is killed."""
BEGUN: Final = b"Beginning flow run"
"""What Prefect logs when the flow's work begins; before it, Python imports for seconds."""
EARLIER: Final = (1.0, 0.5, 0.25)
"""Factors of a fault's moment: a run that had ended before its fault is run again, and disturbed earlier."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """The result of one pair: lines lost, lines duplicated, and whether the flow recovered.

    ``first`` is the exit code of the disturbed run; it shows what the fault did.
    """

    flow: str
    fault: str
    first: int
    lost: int
    duplicated: int
    recovered: bool
    seconds: float
    note: str = ""

    @property
    def passed(self) -> bool:
        """True if nothing was lost or duplicated, and the flow recovered."""
        return self.recovered and not self.lost and not self.duplicated


@dataclass(frozen=True, kw_only=True)
class Run:
    """A running flow and its log."""

    process: Process
    log: Path

    def wait(self) -> int:
        """Return the exit code; kill the run after the limit."""
        try:
            return self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            kill(self.process)
            return -1

    def wait_for_work(self) -> None:
        """Wait until the flow's work begins, or the run has ended."""
        while BEGUN not in self.log.read_bytes() and self.process.poll() is None:
            time.sleep(0.05)

    def last_line(self) -> str:
        """Return the last line of the log."""
        return (self.log.read_text(errors="replace").strip().splitlines() or [""])[-1][:200]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """The lines that an undisturbed run leaves, and the seconds of its work."""

    lines: Counter[str]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A disturbed run and the one after it: whether the fault struck, exit codes, and the last line of what failed."""

    struck: bool
    first: int
    recovered: bool
    note: str = ""


@dataclass(kw_only=True)
class Bench:
    """The running services of a finished demo, a folder for copies, and the backends that copies need.

    SeaweedFS and PostgreSQL start with the first pair that needs them, and stop when the ``with`` block ends.
    """

    state: Path
    environment: Mapping[str, str]
    demo: Place
    manifest: Path
    snapshot: str
    person: str
    scratch: Path
    s3_mode: list[str] = field(default_factory=lambda: [""])
    _opened: ExitStack = field(default_factory=ExitStack)
    _references: dict[str, Reference] = field(default_factory=dict)

    @classmethod
    def on(cls, state: Path, scratch: Path) -> Self:
        """Return the bench on a finished demo whose services run. `ingest` gets some of its clips: it is the slowest flow."""
        rows = workspaces.read_rows(f"sqlite:///{state / 'catalog.db'}", everything=True)
        return cls(
            state=state,
            environment={
                **stack.environment(state, stack.running(state)),
                "VITAU_IDENTITY_FLOOR": "0.15",
                "VITAU_IDENTITY_WARNING": "0.15",
                "VITAU_MEDIA_ROOTS": json.dumps([str(state / "cohort")]),
            },
            demo=Place(store=(state / "store").as_uri(), catalog=f"sqlite:///{state / 'catalog.db'}", work=state / "work"),
            manifest=workspaces.part_of(state / "cohort" / "manifest.csv", CLIPS, scratch),
            snapshot=rows["snapshots"][0]["digest"],
            person=min(row["subject"] for row in rows["splits"]),
            scratch=scratch,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if "services" in self.__dict__:
            self.services.restore()
        self._opened.close()

    @property
    def variables(self) -> dict[str, str]:
        """The variables of every run: two cores are shared with the services, and leases of killed runs expire soon."""
        limits = {"OMP_NUM_THREADS": "1", "VITAU_NUM_PROCESSES": "1", "VITAU_NUM_TRAININGS": "1", "VITAU_LEASE_S": "4"}
        return {**self.environment, **limits, "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO"}

    @cached_property
    def launcher(self) -> Launcher:
        """The process that starts the runs."""
        launcher = Launcher({**os.environ, **self.variables}, self.scratch / "launcher.log")
        self._opened.callback(launcher.stop)
        return launcher

    @cached_property
    def postgresql(self) -> backends.PostgreSQL:
        """A PostgreSQL server of the bench."""
        return self._opened.enter_context(backends.postgresql())

    @cached_property
    def s3(self) -> Mapping[str, str]:
        """The variables of a SeaweedFS behind a proxy that disturbs requests as ``s3_mode`` says."""
        address, keys = self._opened.enter_context(backends.seaweedfs(self.scratch / "seaweedfs"))
        proxy = self._opened.enter_context(s3_proxy(address, lambda: self.s3_mode[0]))
        os.environ.update(found := {**keys, "AWS_ENDPOINT_URL_S3": proxy})
        return found

    @cached_property
    def services(self) -> SharedServices:
        """The demo's Label Studio and MLflow, as they are now."""
        return SharedServices(self.state, self.environment, self.scratch / "services")

    def new_place(self, flow: str, backend: Backend) -> Place:
        """Return a new, empty place. Label Studio serves the demo's store only: `annotate` writes its pictures there."""
        folder = self.scratch / f"{flow}-{uuid4().hex[:8]}"
        folder.mkdir(parents=True)
        place = folder_place(folder)
        if backend is Backend.POSTGRESQL:
            place = replace(place, catalog=self.postgresql.new_database())
        if backend is Backend.S3 and self.s3:
            place = replace(place, store=f"s3://chaos/{folder.name}")
        return replace(place, store=self.demo.store) if flow == "annotate" else place

    def prepare(self, flow: str, place: Place) -> None:
        """Fill a place for a flow, and set the shared services back to where the flow begins."""
        copy_for(flow, self.demo, place)
        if flow in SHARED:
            self.services.prepare(flow)

    def found(self, flow: str, place: Place) -> Counter[str]:
        """Return what a place and the shared services hold, as comparable lines."""
        return contents(place) + (self.services.lines() if flow in SHARED else Counter())

    def reference(self, flow: str) -> Reference:
        """Run a flow without a fault, once: PostgreSQL holds the same rows as SQLite, and S3 the same keys as a folder."""
        if flow not in self._references:
            place = self.new_place(flow, Backend.FOLDER)
            self.prepare(flow, place)
            run = start(flow, self, place)
            run.wait_for_work()
            began = time.monotonic()
            code = run.wait()
            seconds = time.monotonic() - began
            assert code == 0, f"{flow} fails without a fault: {run.last_line()}"
            self._references[flow] = Reference(lines=self.found(flow, place), seconds=seconds)
            workspaces.remove(place)
        return self._references[flow]


def arguments_of(flow: str, bench: Bench, place: Place) -> list[str]:
    """Return the arguments of a flow's command."""
    more = {
        "ingest": [str(bench.manifest)],
        "retrain": [bench.snapshot, "--size", "smoke"],
        "rescore": [bench.snapshot, "--out", str(place.work / "report.html")],
        "monitor": ["--out", str(place.work / "monitor.html")],
        "erase": [bench.person, "--yes"],
    }
    return [flow, *more.get(flow, []), "--state", str(place.work / "none")]


def start(flow: str, bench: Bench, place: Place, fault: Fault | None = None) -> Run:
    """Start a flow on a place, in a process group of its own."""
    place.work.mkdir(parents=True, exist_ok=True)
    log = place.work / f"{flow}-{uuid4().hex[:6]}.log"
    variables = {**os.environ, **bench.variables, **place.environment(), **((fault and fault.environment) or {})}
    process = bench.launcher.start(arguments_of(flow, bench, place), variables, log, fault.file_bytes if fault else None)
    return Run(process=process, log=log)


def cell(flow: str, fault: Fault, bench: Bench) -> Row:
    """Disturb one flow with one fault, run it again undisturbed, and compare what is there with an undisturbed run."""
    began = time.monotonic()
    reference = bench.reference(flow)
    for earlier in EARLIER:
        place = bench.new_place(flow, fault.backend)
        bench.prepare(flow, place)
        outcome = disturb(flow, replace(fault, after=fault.after * earlier), bench, place, reference.seconds)
        found = bench.found(flow, place)
        workspaces.remove(place)
        if outcome.struck:
            break
    lost, duplicated = reference.lines - found, found - reference.lines
    note = outcome.note if outcome.struck else "the run always ended before the fault"
    if not note and (lost or duplicated):
        note = "; ".join(
            f"{sign}{line[:300]}" for sign, lines in (("−", lost), ("+", duplicated)) for line in sorted(lines)[:2]
        )
    return Row(
        flow=flow,
        fault=fault.name,
        first=outcome.first,
        lost=lost.total(),
        duplicated=duplicated.total(),
        recovered=outcome.recovered and outcome.struck,
        seconds=time.monotonic() - began,
        note=note,
    )


def disturb(flow: str, fault: Fault, bench: Bench, place: Place, seconds: float) -> Outcome:
    """Run a flow with a fault and then again without. Of two runs at once both must end well."""
    with fault.during():
        run = start(flow, bench, place, fault)
        beside = start(flow, bench, place, fault) if fault.twice else None
        struck = strike(fault, run, seconds)
        first = run.wait()
        second = 0 if beside is None else beside.wait()
    wait_for_services(bench.state)
    again = start(flow, bench, place)
    failed = [] if again.wait() == 0 else [again]
    if fault.twice:
        failed += [started for started, code in ((run, first), (beside, second)) if started is not None and code]
    note = failed[0].last_line() if failed else ""
    return Outcome(struck=struck, first=first or second, recovered=not failed, note=note)


def strike(fault: Fault, run: Run, seconds: float) -> bool:
    """Strike a run in the middle of its work; return False if it had ended before."""
    if fault.strike is None:
        return True
    run.wait_for_work()
    time.sleep(seconds * fault.after)
    if run.process.poll() is not None:
        return False
    fault.strike(run.process)
    return True


def wait_for_services(state: Path) -> None:
    """Wait until every service answers again."""
    deadline = time.monotonic() + 120
    while not all(stack.is_healthy(service) for service in stack.running(state)):
        assert time.monotonic() < deadline, "a service does not come back"
        time.sleep(0.5)
