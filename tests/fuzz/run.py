"""Fuzz the readers of foreign input: ``python -m tests.fuzz.run`` (`make fuzz`).

Each target runs in a process of its own, which is replaced when it dies. Inputs that crash or hang a reader are written to
``tests/fuzz/regressions``, which every later run reads first. With ``--state FILE`` a run that was stopped is continued.
"""

import argparse
import ctypes
import hashlib
import json
import os
import random
import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Final

from tests.fuzz.engine import WALL_S, Outcome, Target, limit_memory, run_input
from tests.fuzz.targets import TARGETS

REGRESSIONS: Final = Path(__file__).parent / "regressions"
MOST_FAILURES: Final = 20
"""Failures with different causes after which a target stops."""
SEED_EVERY: Final = 50
"""One of so many inputs is a seed as it is."""
_COLUMNS: Final = ("inputs", "accepted", "refused", "ways", "crashes", "hangs", "seconds", "per s", "slowest", "MiB")


@dataclass(kw_only=True)
class Result:
    """The counts of one target.

    Attributes:
        target: its name.
        next: number of the first input that was not run.
        ways: lines of the program that refused inputs, or accepted them.
        failures: the number of the first input with each cause; −1 for a kept one.
        slowest_s: processor time of the slowest input.
        memory_mib: growth of the process.
    """

    target: str
    next: int = 0
    inputs: int = 0
    accepted: int = 0
    refused: int = 0
    crashes: int = 0
    hangs: int = 0
    seconds: float = 0.0
    slowest_s: float = 0.0
    memory_mib: float = 0.0
    ways: list[str] = field(default_factory=list)
    failures: dict[str, int] = field(default_factory=dict)

    def count(self, number: int, outcome: Outcome) -> None:
        """Count a crash or a hang."""
        self.crashes += outcome.kind == "crash"
        self.hangs += outcome.kind == "hang"
        self.failures.setdefault(outcome.cause, number)

    def line(self) -> str:
        """Return the row of the table."""
        counts = f"{self.inputs:>9}{self.accepted:>9}{self.refused:>9}{len(self.ways):>9}{self.crashes:>9}{self.hangs:>9}"
        rate = self.inputs / max(self.seconds, 1e-9)
        return f"{self.target:12}{counts}{self.seconds:>9.0f}{rate:>9.0f}{self.slowest_s:>8.2f}s{self.memory_mib:>9.0f}"


class _Counters(ctypes.Structure):
    """The counters that a worker shares, so that they survive its death."""

    _fields_ = [
        (name, ctypes.c_double) for name in ("number", "started", "inputs", "accepted", "refused", "slowest_s", "memory_mib")
    ]


def make_input(target: Target, seed: int, number: int) -> bytes:
    """Return an input by its number."""
    rng = random.Random(f"{target.name} {seed} {number}")
    seeds = target.seeds()
    return rng.choice(seeds) if number % SEED_EVERY == 0 else target.mutate(rng, seeds)


def regressions(target: Target) -> list[Path]:
    """Return the kept inputs of a target."""
    return sorted((REGRESSIONS / target.name).glob("*.bin"))


def fuzz(target: Target, number: int, seed: int, result: Result) -> Iterator[None]:
    """Run a target's regressions and its inputs up to a number into a result; return every few seconds."""
    while result.next < number and len(result.failures) < MOST_FAILURES:
        began = time.monotonic()
        for _ in _Worker(target, number, seed, result).follow():
            result.seconds, began = result.seconds + time.monotonic() - began, time.monotonic()
            yield


def main() -> None:
    """Print the table, and exit 1 if an input crashed or hung."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; by default all")
    parser.add_argument("--text", type=int, default=100_000, help="inputs for each target of text")
    parser.add_argument("--media", type=int, default=2_000, help="inputs for each target of images or video")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, help="file with the results so far; a run continues where it was stopped")
    arguments = parser.parse_args()
    kept = _read_state(arguments.state, arguments.seed)
    print(f"{'target':12}{''.join(f'{name:>9}' for name in _COLUMNS)}", flush=True)
    for name in arguments.targets or TARGETS:
        target = TARGETS[name]
        number = arguments.media if target.media else arguments.text
        kept.setdefault(name, Result(target=name))
        for _ in fuzz(target, number, arguments.seed, kept[name]):
            _write_state(arguments.state, arguments.seed, kept)
        print(kept[name].line(), flush=True)
        for cause, first in kept[name].failures.items():
            print(f"  {cause}: {keep(target, arguments.seed, first)}", flush=True)
    sys.exit(any(kept[name].failures for name in arguments.targets or TARGETS))


def keep(target: Target, seed: int, number: int) -> str:
    """Write an input to the regressions; return where it is."""
    if number < 0:
        return "one of its regressions"
    data = make_input(target, seed, number)
    path = REGRESSIONS / target.name / f"{hashlib.sha256(data).hexdigest()[:12]}.bin"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(data)
    return f"input {number}, {path.relative_to(REGRESSIONS.parent)}"


class _Worker:
    """A process that runs the inputs of a target from a number on, until it is done, dies or hangs."""

    def __init__(self, target: Target, number: int, seed: int, result: Result) -> None:
        context = get_context("fork")  # the child has loaded everything already
        self._target, self._result, self._before = target, result, Result(**asdict(result))
        self._counters: Any = context.Value(_Counters, lock=False)
        self._counters.number = result.next - 1
        self._outcomes, theirs = context.Pipe(duplex=False)
        work = (target.name, seed, result.next, number, not result.inputs, self._counters, theirs)
        self._process = context.Process(target=_work, args=work)
        self._process.start()
        theirs.close()

    def follow(self) -> Iterator[None]:
        """Count what the process did, and return every few seconds, until it has ended."""
        moved_at, moved_to, hung = time.monotonic(), -2.0, False
        while self._receive():
            self._count()
            if self._counters.number != moved_to:
                moved_at, moved_to = time.monotonic(), self._counters.number
            elif time.monotonic() - moved_at > WALL_S + 30:  # in a loop outside of the interpreter
                self._process.kill()
                hung = True
            yield
        self._process.join()
        if self._process.exitcode != 0 and not self._counters.started:
            raise SystemExit(f"the process of {self._target.name} did not start")
        self._count()
        if self._process.exitcode != 0:
            self._result.inputs += 1
            cause = "no answer" if hung else f"died with exit code {self._process.exitcode}"
            self._result.count(int(self._counters.number), Outcome(kind="hang" if hung else "crash", cause=cause))
        yield

    def _receive(self) -> bool:
        """Receive outcomes for two seconds; return False after the last one."""
        until = time.monotonic() + 2.0
        while self._outcomes.poll(max(0.0, until - time.monotonic())):
            try:
                at, outcome = self._outcomes.recv()
            except EOFError:
                return False
            if outcome.failed:
                self._result.count(at, outcome)
            elif outcome.cause not in self._result.ways:
                self._result.ways.append(outcome.cause)
        return True

    def _count(self) -> None:
        for name in ("inputs", "accepted", "refused"):
            setattr(self._result, name, getattr(self._before, name) + int(getattr(self._counters, name)))
        for name in ("slowest_s", "memory_mib"):
            setattr(self._result, name, max(getattr(self._before, name), getattr(self._counters, name)))
        self._result.next = max(self._before.next, int(self._counters.number) + 1)


def _work(name: str, seed: int, start: int, number: int, first: bool, counters: Any, results: Connection) -> None:
    target, ways = TARGETS[name], set[str]()
    target.seeds()
    counters.started = 1
    if target.media:  # the decoders' own words, which an ingest does not read either
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)

    def run(at: int, data: bytes, folder: Path) -> None:
        counters.number = at
        before = time.process_time()
        outcome = run_input(target, data, folder)
        counters.slowest_s = max(counters.slowest_s, time.process_time() - before)
        counters.inputs += 1
        if outcome.failed or outcome.cause not in ways:
            ways.add(outcome.cause)
            results.send((at, outcome))
        counters.accepted += outcome.kind == "accepted"
        counters.refused += outcome.kind == "refused"
        counters.memory_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 - first_mib

    with tempfile.TemporaryDirectory(dir=_memory_folder()) as folder:
        limit_memory(target)
        first_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        for path in regressions(target) if first else ():
            run(-1, path.read_bytes(), Path(folder))
        for at in range(start, number):
            run(at, make_input(target, seed, at), Path(folder))
    results.close()


def _memory_folder() -> str | None:
    """Return a folder in memory, where there is one: most readers open a file."""
    folder = Path("/dev/shm")  # noqa: S108 - the folder inside has a random name
    return str(folder) if folder.is_dir() else None


def _read_state(path: Path | None, seed: int) -> dict[str, Result]:
    if path is None or not path.exists():
        return {}
    state = json.loads(path.read_text())
    if state["seed"] != seed:
        raise SystemExit(f"{path} is of the seed {state['seed']}; give --seed {state['seed']}, or another file")
    return {name: Result(**values) for name, values in state["results"].items()}


def _write_state(path: Path | None, seed: int, results: dict[str, Result]) -> None:
    if path is not None:
        path.write_text(json.dumps({"seed": seed, "results": {name: asdict(result) for name, result in results.items()}}))


if __name__ == "__main__":
    main()
