"""Disturb every flow with every fault, on loopback: ``python -m tests.chaos.run`` (`make chaos`).

One demo of drawn people is run to its end. For each pair of a flow and a fault, a copy of its store and catalog is made,
without the results of the flow. The flow runs there and is disturbed, then runs again undisturbed. What the copy then holds is
compared with an undisturbed run: missing lines are *lost* and additional ones *duplicated*. A second run with exit code 0 is
*recovered*.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from typing import Final

from flows.local_stack import stack
from flows.settings import ROOT
from tests.chaos.bench import Bench, Row, cell
from tests.chaos.faults import (
    FULL_DISK,
    TWO_RUNS,
    Backend,
    Fault,
    clock_steps,
    disturbed_s3,
    kill_at,
    restart_service,
)

SUBJECTS: Final = 12
NEEDS: Final[Mapping[str, Sequence[str]]] = {
    "ingest": ("prefect",),
    "annotate": ("prefect", "label-studio"),
    "freeze": ("prefect",),
    "retrain": ("prefect", "mlflow"),
    "promote": ("prefect", "mlflow"),
    "rescore": ("prefect", "mlflow"),
    "monitor": ("prefect", "mlflow"),
    "erase": ("prefect", "label-studio", "mlflow"),
}
"""The services that each flow uses, and that are restarted in its middle."""
S3_MODES: Final = ("slow", "cut", "503", "409")
S3_FLOWS: Final = ("ingest", "freeze", "rescore", "erase")
"""Flows that are run on a disturbed S3: those that write, read and delete objects. The others use the same functions."""


def faults_of(flow: str, bench: Bench, kills: int) -> list[Fault]:
    """Return the faults of a flow."""

    def pid_of(name: str) -> int:
        return next(service.pid for service in stack.running(bench.state) if service.name == name)

    return [
        *(kill_at((index + 1) / (kills + 1)) for index in range(kills)),
        *(restart_service(name, pid_of) for name in NEEDS[flow]),
        Fault(name="PostgreSQL restarted", strike=lambda _: bench.postgresql.restart(), backend=Backend.POSTGRESQL),
        *(disturbed_s3(mode, bench.s3_mode) for mode in S3_MODES if flow in S3_FLOWS),
        FULL_DISK,
        TWO_RUNS,
        *clock_steps(),
    ]


@contextmanager
def demo_in(folder: Path) -> Iterator[Path]:
    """Run a demo to its end, keep its services running, and yield its state folder."""
    state = folder / "state"
    state.mkdir(parents=True)
    try:
        for arguments in (["up"], ["demo", "--subjects", SUBJECTS, "--size", "smoke"]):
            command = [sys.executable, "-m", "flows", *map(str, arguments), "--state", str(state)]
            subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        yield state
    finally:
        stack.stop(state)


def chosen(flow: str, fault: Fault, patterns: Sequence[str]) -> bool:
    """Return whether a pair is among those that were asked for; ``ingest`` and ``*/SIGKILL*`` are patterns."""
    return not patterns or any(fnmatch(f"{flow}/{fault.name}", pattern) or flow == pattern for pattern in patterns)


def rows_of(bench: Bench, patterns: Sequence[str], kills: int, passed: Mapping[tuple[str, str], Row]) -> Iterator[Row]:
    """Yield the row of every pair when it is known; pairs that have passed before are not run again."""
    for flow in NEEDS:
        for fault in faults_of(flow, bench, kills):
            if chosen(flow, fault, patterns):
                yield passed.get((flow, fault.name)) or row_of(flow, fault, bench)


def row_of(flow: str, fault: Fault, bench: Bench) -> Row:
    """Run a pair. What fails in the bench itself is a row that did not pass, and the other pairs are run."""
    began = time.monotonic()
    try:
        return cell(flow, fault, bench)
    except Exception as error:  # noqa: BLE001 - one pair must not end the table
        traceback.print_exc()
        note, seconds = f"{type(error).__name__}: {error}"[:300], time.monotonic() - began
        return Row(flow=flow, fault=fault.name, first=-1, lost=0, duplicated=0, recovered=False, seconds=seconds, note=note)


def read_rows(path: Path | None) -> dict[tuple[str, str], Row]:
    """Return the rows of an earlier run that passed, by flow and fault."""
    if path is None or not path.exists():
        return {}
    rows = [Row(**json.loads(line)) for line in path.read_text().splitlines()]
    return {(row.flow, row.fault): row for row in rows if row.passed}


def line_of(row: Row) -> str:
    """Return a row of the table."""
    recovered = "yes" if row.recovered else "NO"
    counts = f"{row.lost:>6}{row.duplicated:>12}{recovered:>11}{row.seconds:>9.0f}{row.first:>11}"
    return f"{row.flow:10}{row.fault:26}{counts}{'' if row.passed else f'  {row.note}'}"


def main() -> None:
    """Print the table, and exit 1 unless nothing was lost or duplicated and every flow recovered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", nargs="*", metavar="PAIR", help=f"of {', '.join(NEEDS)}, or FLOW/FAULT with *; by default all")
    parser.add_argument("--kills", type=int, default=3, help="moments at which each flow is killed")
    parser.add_argument("--state", type=Path, help="a finished demo whose services run; by default a new one is made")
    parser.add_argument("--results", type=Path, help="a file that keeps the rows; pairs that passed there are not run again")
    given = parser.parse_args()
    print(f"{'flow':10}{'fault':26}{'lost':>6}{'duplicated':>12}{'recovered':>11}{'seconds':>9}{'first exit':>11}", flush=True)
    passed, rows = read_rows(given.results), []
    with tempfile.TemporaryDirectory(prefix="vitau-chaos-") as folder, ExitStack() as opened:
        state = given.state.resolve() if given.state else opened.enter_context(demo_in(Path(folder)))
        bench = opened.enter_context(Bench.on(state, Path(folder) / "scratch"))
        os.environ.update({name: value for name, value in bench.environment.items() if name.startswith("MLFLOW_")})
        for row in rows_of(bench, given.pairs, given.kills, passed):
            rows.append(row)
            print(line_of(row), flush=True)
            if given.results and (row.flow, row.fault) not in passed:
                with given.results.open("a") as kept:
                    kept.write(json.dumps(asdict(row)) + "\n")
    print(f"{sum(row.passed for row in rows)} of {len(rows)} pairs: nothing lost, nothing duplicated, recovered")
    sys.exit(not all(row.passed for row in rows))


if __name__ == "__main__":
    main()
