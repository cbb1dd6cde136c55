"""Disturb every flow with every fault, on loopback: ``python -m tests.chaos.run`` (`make chaos`).

One demo of drawn people is run to its end. For each pair of a flow and a fault, a copy of its store and catalog is made,
without the results of the flow. The flow runs there and is disturbed, then runs again undisturbed. What the copy then holds is
compared with an undisturbed run: missing lines are *lost* and additional ones *duplicated*. A second run with exit code 0 is
*recovered*.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Final
from uuid import uuid4

from flows.local_stack import stack
from flows.settings import ROOT
from tests.chaos import backends, workspaces
from tests.chaos.faults import FULL_DISK, TWO_RUNS, Fault, clock_steps, kill, kill_at, restart_service, s3_proxy
from tests.chaos.workspaces import Place, contents, copy_for, folder_place

SUBJECTS: Final = 12
LIMIT_S: Final = 300.0
NEEDS: Final[Mapping[str, Sequence[str]]] = {
    "ingest": ("prefect",),
    "annotate": ("prefect", "label-studio"),
    "freeze": ("prefect",),
    "retrain": ("prefect", "mlflow"),
    "promote": ("prefect", "mlflow"),
    "rescore": ("prefect", "mlflow"),
    "monitor": ("prefect", "mlflow"),
    "erase": ("prefect", "label-studio"),
}
"""The services that each flow uses, and that are restarted in its middle."""
S3_MODES: Final = ("slow", "cut", "503", "409")
S3_FLOWS: Final = ("ingest", "freeze", "rescore")


@dataclass(frozen=True, kw_only=True)
class Bench:
    """The running services, the finished demo, and a folder for copies."""

    state: Path
    environment: Mapping[str, str]
    demo: Place
    manifest: Path
    snapshot: str
    person: str
    scratch: Path


@dataclass(frozen=True, kw_only=True)
class Row:
    """The result of one pair: lines lost, lines duplicated, and whether the flow recovered."""

    flow: str
    fault: str
    lost: int
    duplicated: int
    recovered: bool
    seconds: float
    note: str = ""

    @property
    def passed(self) -> bool:
        """True if nothing was lost or duplicated, and the flow recovered."""
        return self.recovered and not self.lost and not self.duplicated


def arguments_of(flow: str, bench: Bench, place: Place) -> list[str]:
    """Return the command line of a flow."""
    more = {
        "ingest": [str(bench.manifest)],
        "retrain": [bench.snapshot, "--size", "smoke"],
        "rescore": [bench.snapshot, "--out", str(place.work / "report.html")],
        "monitor": ["--out", str(place.work / "monitor.html")],
        "erase": [bench.person, "--yes"],
    }
    return [sys.executable, "-m", "flows", flow, *more.get(flow, []), "--state", str(place.work / "none")]


def start(flow: str, bench: Bench, place: Place, fault: Fault | None = None, more: Mapping[str, str] | None = None) -> "Run":
    """Start a flow on a place, in a process group of its own."""
    place.work.mkdir(parents=True, exist_ok=True)
    log = place.work / f"{flow}-{uuid4().hex[:6]}.log"
    variables = {**os.environ, **bench.environment, **place.environment(), "OMP_NUM_THREADS": "1", "VITAU_LEASE_S": "4"}
    variables |= {"VITAU_NUM_PROCESSES": "1", **(more or {}), **((fault and fault.environment) or {})}
    with log.open("wb") as file:
        process = subprocess.Popen(
            arguments_of(flow, bench, place),
            cwd=ROOT,
            env=variables,
            stdout=file,
            stderr=file,
            start_new_session=True,
            preexec_fn=fault.before if fault else None,  # noqa: PLW1509 - this program has no threads that hold locks
        )
    return Run(process=process, log=log)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A running flow and its log."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait(self) -> int:
        """Return the exit code; kill the run after the limit."""
        try:
            return self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            kill(self.process)
            return -1

    def last_line(self) -> str:
        """Return the last line of the log."""
        return (self.log.read_text(errors="replace").strip().splitlines() or [""])[-1][:160]


def place_for(flow: str, bench: Bench) -> Place:
    """Return a new place in a folder. Label Studio serves the demo's store only, so `annotate` writes its pictures there."""
    place = folder_place(bench.scratch / f"{flow}-{uuid4().hex[:8]}")
    return replace(place, store=bench.demo.store) if flow == "annotate" else place


def undisturbed(flow: str, bench: Bench) -> tuple[Counter[str], float]:
    """Run a flow without a fault; return what its place then holds, and the duration."""
    place = place_for(flow, bench)
    copy_for(flow, bench.demo, place)
    began = time.monotonic()
    run = start(flow, bench, place)
    code = run.wait()
    assert code == 0, f"{flow} fails without a fault: {run.last_line()}"
    seconds = time.monotonic() - began
    lines = contents(place)
    workspaces.remove(place)
    return lines, seconds


def disturb(
    flow: str, fault: Fault, bench: Bench, place: Place, seconds: float, more: Mapping[str, str] | None = None
) -> tuple[bool, str]:
    """Run a flow with a fault and then again without; return whether the second run ended well, and its last line if not."""
    run = start(flow, bench, place, fault, more)
    beside = start(flow, bench, place, fault, more) if fault.twice else None
    if fault.strike is not None:
        time.sleep(seconds * fault.after)
        fault.strike(run.process)
    run.wait()
    if beside is not None:
        beside.wait()
    wait_for_services(bench.state)
    again = start(flow, bench, place)
    code = again.wait()
    return code == 0, "" if code == 0 else again.last_line()


def wait_for_services(state: Path) -> None:
    """Wait until every service answers again."""
    deadline = time.monotonic() + 120
    while not all(stack.is_healthy(service) for service in stack.running(state)):
        assert time.monotonic() < deadline, "a service does not come back"
        time.sleep(0.5)


def cell(flow: str, fault: Fault, bench: Bench, reference: tuple[Counter[str], float], place: Place | None = None) -> Row:
    """Disturb one flow with one fault and compare the result."""
    began = time.monotonic()
    place = place or place_for(flow, bench)
    copy_for(flow, bench.demo, place)
    expected, seconds = reference
    recovered, note = disturb(flow, fault, bench, place, seconds)
    found = contents(place)
    lost, duplicated = expected - found, found - expected
    if not note and (lost or duplicated):
        note = next(iter(lost or duplicated))[:140]
    workspaces.remove(place)
    return Row(
        flow=flow,
        fault=fault.name,
        lost=lost.total(),
        duplicated=duplicated.total(),
        recovered=recovered,
        seconds=time.monotonic() - began,
        note=note,
    )


def faults_of(flow: str, bench: Bench, kills: int) -> list[Fault]:
    """Return the faults of a flow on the embedded backends."""

    def pid_of(name: str) -> int:
        return next(service.pid for service in stack.running(bench.state) if service.name == name)

    return [
        *(kill_at((index + 1) / (kills + 1)) for index in range(kills)),
        *(restart_service(name, pid_of) for name in NEEDS[flow]),
        FULL_DISK,
        TWO_RUNS,
        *clock_steps(),
    ]


def s3_rows(flows: Sequence[str], bench: Bench, references: Mapping[str, tuple[Counter[str], float]]) -> Iterator[Row]:
    """Yield the rows of an S3 server that is slow, cuts connections, or answers 503 and 409."""
    with ExitStack() as opened:
        address, variables = opened.enter_context(backends.seaweedfs(bench.scratch / "seaweedfs"))
        mode = [""]
        proxy = opened.enter_context(s3_proxy(address, lambda: mode[0]))
        os.environ.update(variables | {"AWS_ENDPOINT_URL_S3": proxy})
        for flow in flows:
            for name in S3_MODES:
                folder = bench.scratch / f"{flow}-s3-{uuid4().hex[:8]}"
                place = Place(store=f"s3://chaos/{folder.name}", catalog=f"sqlite:///{folder}/catalog.db", work=folder / "work")
                fault = Fault(name=f"S3 {name}", strike=partial(_set, mode, ""), after=0.9)
                mode[0] = ""
                folder.mkdir()
                copy_for(flow, bench.demo, place)
                mode[0] = name
                yield _without_copy(flow, fault, bench, references[flow], place)


def postgresql_rows(flows: Sequence[str], bench: Bench, references: Mapping[str, tuple[Counter[str], float]]) -> Iterator[Row]:
    """Yield the rows of a PostgreSQL that is restarted in mid-run."""
    with backends.postgresql() as server:
        for flow in flows:
            folder = bench.scratch / f"{flow}-postgresql-{uuid4().hex[:8]}"
            place = Place(store=(folder / "store").as_uri(), catalog=server.new_database(), work=folder / "work")
            fault = Fault(name="postgresql restarted", strike=lambda _: server.restart())
            yield cell(flow, fault, bench, references[flow], place)


def _without_copy(flow: str, fault: Fault, bench: Bench, reference: tuple[Counter[str], float], place: Place) -> Row:
    began = time.monotonic()
    recovered, note = disturb(flow, fault, bench, place, reference[1])
    found = contents(place)
    lost, duplicated = reference[0] - found, found - reference[0]
    note = note or next(iter(lost or duplicated), "")[:140]
    counts = {"lost": lost.total(), "duplicated": duplicated.total(), "recovered": recovered}
    return Row(flow=flow, fault=fault.name, seconds=time.monotonic() - began, note=note, **counts)


def _set(mode: list[str], value: str, _: object) -> None:
    mode[0] = value


@contextmanager
def opened_bench(folder: Path) -> Iterator[Bench]:
    """Run a demo to its end, and keep its services running."""
    state = folder / "state"
    state.mkdir(parents=True)
    try:
        _run(["up", "--state", state])
        _run(["demo", "--state", state, "--subjects", SUBJECTS, "--size", "smoke"])
        yield bench_of(state, folder / "scratch")
    finally:
        stack.stop(state)


def bench_of(state: Path, scratch: Path) -> Bench:
    """Return the bench on a finished demo whose services run."""
    rows = workspaces.read_rows(f"sqlite:///{state / 'catalog.db'}", everything=True)
    snapshot = rows["snapshots"][0]["digest"]
    trained = {row["subject"] for row in rows["splits"]}
    return Bench(
        state=state,
        environment={**stack.environment(state, stack.running(state)), "VITAU_IDENTITY_FLOOR": "0.15"},
        demo=Place(store=(state / "store").as_uri(), catalog=f"sqlite:///{state / 'catalog.db'}", work=state / "work"),
        manifest=state / "cohort" / "manifest.csv",
        snapshot=snapshot,
        person=min(trained),
        scratch=scratch,
    )


def _run(arguments: Sequence[object]) -> None:
    subprocess.run([sys.executable, "-m", "flows", *map(str, arguments)], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


def run_all(bench: Bench, flows: Sequence[str], kills: int, tell: Callable[[Row], None]) -> list[Row]:
    """Run every pair of the flows; call ``tell`` with each row when it is known."""
    references = {flow: undisturbed(flow, bench) for flow in flows}
    rows: list[Row] = []

    def add(row: Row) -> None:
        rows.append(row)
        tell(row)

    on_s3, on_postgresql = ([flow for flow in flows if flow in S3_FLOWS] for _ in range(2))
    for row in s3_rows(on_s3, bench, references) if on_s3 else ():
        add(row)
    for row in postgresql_rows(on_postgresql, bench, references) if on_postgresql else ():
        add(row)
    for flow in flows:  # erase last: it deletes the person's tasks in the shared Label Studio
        for fault in faults_of(flow, bench, kills):
            add(cell(flow, fault, bench, references[flow]))
    return rows


def main() -> None:
    """Print the table, and exit 1 unless nothing was lost or duplicated and every flow recovered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("flows", nargs="*", metavar="FLOW", help=f"of {', '.join(NEEDS)}; by default all")
    parser.add_argument("--kills", type=int, default=4, help="moments at which each flow is killed")
    parser.add_argument("--state", type=Path, help="a finished demo whose services run; by default a new one is made")
    arguments = parser.parse_args()
    print(f"{'flow':10}{'fault':26}{'lost':>6}{'duplicated':>12}{'recovered':>11}{'seconds':>9}", flush=True)

    def tell(row: Row) -> None:
        recovered = "yes" if row.recovered else "NO"
        counts = f"{row.lost:>6}{row.duplicated:>12}{recovered:>11}{row.seconds:>9.0f}"
        print(f"{row.flow:10}{row.fault:26}{counts}{'' if row.passed else f'  {row.note}'}", flush=True)

    with tempfile.TemporaryDirectory(prefix="vitau-chaos-") as folder, ExitStack() as opened:
        if arguments.state is None:
            bench = opened.enter_context(opened_bench(Path(folder)))
        else:
            bench = bench_of(arguments.state.resolve(), Path(folder) / "scratch")
        rows = run_all(bench, arguments.flows or list(NEEDS), arguments.kills, tell)
    print(f"{sum(row.passed for row in rows)} of {len(rows)} pairs: nothing lost, nothing duplicated, recovered")
    sys.exit(not all(row.passed for row in rows))


if __name__ == "__main__":
    main()
