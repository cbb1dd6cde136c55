"""Benchmark of the cores: `ingest`, `rescore` and the folds of `crossvalidate` with two processes beside one."""

import os
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from time import perf_counter
from typing import Final

from flows.local_stack.state import Profile
from flows.local_stack.variables import environment
from flows.settings import load_settings
from flows.studies.core_inputs import crown, freeze_all, write_clips, write_people
from flows.studies.serving import serving
from flows.workspace import Workspace
from vitau.bench.measure import Case, Result, Watch, compare
from vitau.errors import BenchError

AT_LEAST: Final = 1.7
NAME: Final = "prefect"
COMPARED: Final[Mapping[str, tuple[str, ...]]] = {
    "ingest": ("store/subjects/**/*",),
    "rescore": ("store/scores/**/*",),
    "crossvalidate": ("out/predictions.parquet", "out/table.csv"),
}
"""Command → patterns of the files that must be byte-identical. Others have the time of the run in them."""
AMOUNTS: Final[Mapping[str, str]] = {"ingest": "clips", "rescore": "people", "crossvalidate": "folds"}


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Clips and people of the benchmark: clips of 14 frames, the people drawn in them, and the people of the folds."""

    clips: int = 60
    drawn: int = 10
    fold_people: int = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """A finished command: the SHA-256 of each file by its path, its seconds, and the processor time of all its processes, s."""

    files: Mapping[str, str]
    wall_s: float
    cpu_s: float

    @property
    def num_busy(self) -> float:
        """Mean number of cores at work."""
        return self.cpu_s / self.wall_s


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """A command of ``python -m``: its arguments, in which ``{out}`` is a folder, and what it starts from.

    Attributes:
        name: one of ``COMPARED``.
        arguments: after ``python -m``.
        state: folder with its store, catalog and work folder, which is copied for each run.
        amount: of work, in units of ``AMOUNTS``.
        variables: of its environment.
    """

    name: str
    arguments: Sequence[str]
    state: Path
    amount: int
    variables: Mapping[str, str]

    def run(self, num_processes: int, num_commands: int = 1) -> Run:
        """Run the command, or several at once, each on a copy of the state; return the files of the first.

        Raises:
            BenchError: a command fails.
        """
        with tempfile.TemporaryDirectory(dir=self.state.parent) as folder:
            copies = [shutil.copytree(self.state, Path(folder, str(number))) for number in range(num_commands)]
            before, began = _children_s(), perf_counter()
            self.run_in(copies, num_processes)
            wall_s, cpu_s = perf_counter() - began, _children_s() - before
            return Run(files=dict(_digests(copies[0], COMPARED[self.name])), wall_s=wall_s, cpu_s=cpu_s)

    def run_in(self, states: Sequence[Path], num_processes: int) -> None:
        """Run the command on each of some states, at once.

        Raises:
            BenchError: a command fails.
        """
        running = [self._start(state, num_processes) for state in states]
        for process in running:
            _, said = process.communicate()
            if process.returncode:
                raise BenchError(f"`{self.name}` failed: {' '.join(said.splitlines()[-1:])}")

    def _start(self, state: Path, num_processes: int) -> "subprocess.Popen[str]":
        number = str(num_processes)
        own = {"VITAU_NUM_PROCESSES": number, "VITAU_NUM_TRAININGS": number, **workspace_of(state)}
        return subprocess.Popen(
            [sys.executable, "-m", *(part.format(out=state / "out") for part in self.arguments)],
            env={**os.environ, **self.variables, **own},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )


def bench(
    rounds: int = 1,
    watch: Watch = lambda *_: None,
    *,
    sizes: Sizes | None = None,
    commands: Sequence[str] = tuple(COMPARED),
    tell: Callable[[str], None] = lambda _: None,
) -> Result:
    """Run flows on drawn people with two processes and with one, each as a new program on a fresh store and catalog.

    The time includes the start of Python, all imports and the models. A Prefect server of the benchmark's own runs beside. The
    floor is what the machine gives to two processes that share nothing: two commands of one process each, at the same time,
    which do the whole work each.

    Args:
        rounds: paired measurements, without one to warm up, because every command is a new process.
        watch: called after every round.
        sizes: of the inputs.
        commands: some of ``COMPARED``, one case each.
        tell: called with one line per step.

    Raises:
        BenchError: there is one core only, or a command fails.
        StackError: Prefect does not start.
    """
    if len(os.sched_getaffinity(0)) < 2:
        raise BenchError("two processes share one core here; take a machine, or a container, with two")
    sizes = sizes or Sizes()
    with tempfile.TemporaryDirectory(prefix="vitau-cores-") as name, ExitStack() as stack:
        folder = Path(name)
        tell("draw people, and start Prefect")
        (state := folder / "state").mkdir()
        urls = stack.enter_context(serving(state, [NAME]))
        unused = {"label-studio": "http://127.0.0.1:9", "mlflow": f"sqlite:///{folder / 'mlflow.db'}"}
        variables = environment(state, Profile.EMBEDDED, unused | urls)
        cases = [_case(command, rounds, watch) for command in _prepare(folder, variables, sizes, commands)]
    return Result(
        name="cores",
        compared="a flow with two processes beside one",
        difference="number of written files that are not byte-identical",
        cases=tuple(cases),
    )


def _prepare(folder: Path, variables: Mapping[str, str], sizes: Sizes, commands: Sequence[str]) -> list[Command]:
    """Write the inputs of some commands; return these."""
    states = {name: folder / name / "state" for name in COMPARED}
    for state in states.values():
        state.mkdir(parents=True)
    made = {}
    if {"ingest", "rescore"} & {*commands}:
        arguments = ["flows", "ingest", str(write_clips(folder, sizes.clips, sizes.drawn))]
        made["ingest"] = Command(
            name="ingest", arguments=arguments, state=states["ingest"], amount=sizes.clips, variables=variables
        )
    if "rescore" in commands:
        state = states["rescore"]
        made["ingest"].run_in([state], 2)
        workspace = Workspace(load_settings({**variables, **workspace_of(state)}))
        digest = freeze_all(workspace)
        crown(workspace, digest, folder)
        workspace.catalog.engine.dispose()
        arguments = ["flows", "rescore", digest, "--out", "{out}.html"]
        made["rescore"] = Command(name="rescore", arguments=arguments, state=state, amount=sizes.clips, variables=variables)
    if "crossvalidate" in commands:
        state = states["crossvalidate"]
        digest, num_folds = write_people(state, sizes.fold_people)
        arguments = ["flows.studies.core_folds", digest, "{out}"]
        made["crossvalidate"] = Command(
            name="crossvalidate", arguments=arguments, state=state, amount=num_folds, variables=variables
        )
    return [made[name] for name in commands]


def _case(command: Command, rounds: int, watch: Watch) -> Case:
    unit = AMOUNTS[command.name]
    apart = command.run(1, 2)
    case = compare(
        f"`{command.name}`, {command.amount} {unit}",
        partial(command.run, 2),
        partial(command.run, 1),
        _judge,
        amount=command.amount,
        unit=f"{unit}/s",
        rounds=rounds,
        watch=watch,
        at_least=AT_LEAST,
        floors={"two commands at once that share nothing": 2 * command.amount / apart.wall_s},
        warm=False,
    )
    return replace(case, agreement={**case.agreement, "two_commands_at_once_cpu_s": apart.cpu_s})


def _judge(mine: Run, theirs: Run) -> Mapping[str, float]:
    names = {*mine.files, *theirs.files}
    return {
        "max_difference": sum(mine.files.get(name) != theirs.files.get(name) for name in names),
        "files": len(names),
        "our_cpu_s": mine.cpu_s,
        "baseline_cpu_s": theirs.cpu_s,
        "our_cores_at_work": mine.num_busy,
        "baseline_cores_at_work": theirs.num_busy,
    }


def workspace_of(state: Path) -> dict[str, str]:
    """Return the variables that name the store, the catalog and the work folder of a state."""
    return {
        "VITAU_STORE": (state / "store").as_uri(),
        "VITAU_CATALOG": f"sqlite:///{state / 'catalog.db'}",
        "VITAU_WORK": str(state / "work"),
    }


def _digests(state: Path, patterns: Sequence[str]) -> Iterator[tuple[str, str]]:
    for path in sorted(path for pattern in patterns for path in state.glob(pattern)):
        if path.is_file():
            yield path.relative_to(state).as_posix(), sha256(path.read_bytes()).hexdigest()


def _children_s() -> float:
    """Return the seconds of processor time of all children that ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
