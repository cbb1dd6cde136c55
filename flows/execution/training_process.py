"""Training subprocesses: start them, stream their log lines, show their progress; they end with the flow that started them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from logging import Logger, LoggerAdapter
from typing import Final, TypeAlias

from flows.execution.gpus import VISIBLE, lease_gpus, num_processes_of, visible_gpus
from flows.execution.leases import LeaseHolder, exclusive_lease
from flows.settings import ROOT
from vitau.catalog.leases import Leases
from vitau.errors import TrainingError
from vitau.progress import bars, stderr_console

Listener: TypeAlias = Callable[[str, str], None]
"""Called with the name of the training and a line of its log."""

STUCK_S: Final = 12 * 3600.0
"""Seconds without a line in the log after which a training counts as stuck; an epoch is shorter."""

_EPOCH: Final = re.compile(r"epoch (\d+)/(\d+)")
_KEPT_LINES: Final = 60  # after a failure, `torchrun` alone writes some thirty


@contextmanager
def lease_training(leases: Leases, work: str, lease_s: float, listener: Listener) -> Iterator["TrainingLease"]:
    """Acquire the lease on a training for the ``with`` block; wait until no other worker has it.

    A second run of the same training, such as one that Prefect rescheduled, waits here and then finds it complete. A run that
    loses the lease kills its training: another worker resumes it from the last checkpoint.

    Args:
        leases: the leases of all workers.
        work: name of the training.
        lease_s: seconds.
        listener: gets a line while the run waits.
    """
    processes: list[subprocess.Popen[str]] = []

    def kill() -> None:
        for process in processes:
            process.kill()

    def say() -> None:
        listener(work, "waiting for another worker that trains the same")

    with exclusive_lease(leases, work, lease_s, stuck_s=STUCK_S, on_lost=kill, on_wait=say) as holder:
        yield TrainingLease(leases=leases, holder=holder, work=work, processes=processes)


@dataclass(frozen=True, kw_only=True)
class TrainingLease:
    """The lease on a training, and the processes that end if it is lost."""

    leases: Leases
    holder: LeaseHolder
    work: str
    processes: list["subprocess.Popen[str]"]

    @property
    def token(self) -> int:
        """The fencing token, which the training checks before each checkpoint."""
        return self.holder.token(self.work)

    def require(self) -> None:
        """Raise LeaseLostError unless the lease is still held; call it before results are written."""
        self.holder.require(self.work)


def run_training(
    name: str,
    arguments: Sequence[str],
    listener: Listener,
    *,
    num_at_once: int = 1,
    num_processes: int | None = None,
    lease: TrainingLease | None = None,
) -> None:
    """Run ``python -m vitau.training`` with its share of the cores, and pass each log line to the listener.

    The training watches a pipe on its stdin. If this process is killed, the training ends too and frees the GPU.

    Args:
        name: of the training, for the listener.
        arguments: of the command.
        listener: called with every line.
        num_at_once: number of trainings that share the cores of this machine.
        num_processes: of this training, under `torchrun`; by default one per visible GPU, or one without a GPU.
        lease: the training ends if it is lost; its log lines are its progress. With a lease the training waits for GPUs that
            no other training uses, and sees only these.

    Raises:
        TrainingError: the training failed; its last sentence is the reason. Or it wants more processes than there are GPUs.
        LeaseLostError: another worker has taken the training over.
    """
    gpus = visible_gpus()
    num_processes = num_processes_of(gpus, num_processes)
    share = max(1, (os.cpu_count() or 1) // (num_at_once * num_processes))
    environment = {"VITAU_TORCH_THREADS": str(share), "OMP_NUM_THREADS": str(share), **os.environ, "PYTHONUNBUFFERED": "1"}
    with ExitStack() as leased:
        if lease is not None:

            def say() -> None:
                listener(name, f"waiting for {num_processes} of {len(gpus)} GPUs: other trainings use them")

            own = leased.enter_context(lease_gpus(lease.leases, lease.holder, gpus, num_processes, say))
            environment |= {VISIBLE: ",".join(own)} if own else {}
            lease.require()
        exit_code, lines = _listen(name, command(arguments, num_processes), environment, listener, lease)
    if lease is not None:
        lease.require()
    if exit_code:
        raise TrainingError(f"{name} ended with exit code {exit_code}: {failure_reason(lines)}")


def _listen(
    name: str, command: Sequence[str], environment: Mapping[str, str], listener: Listener, lease: TrainingLease | None
) -> tuple[int, list[str]]:
    """Run a training to its end; return its exit code and the last lines of its log."""
    lines: list[str] = []
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        assert process.stderr is not None
        if lease is not None:
            lease.processes.append(process)
        for line in process.stderr:
            if lease is not None:
                lease.holder.progress()
            lines = [*lines, line.rstrip()][-_KEPT_LINES:]
            listener(name, line.rstrip())
    return process.returncode, lines


def command(arguments: Sequence[str], num_processes: int) -> list[str]:
    """Return the command line of a training: one process, or several under `torchrun`."""
    training = ["-m", "vitau.training", "--exit-with-parent", *arguments]
    if num_processes == 1:
        return [sys.executable, *training]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_processes}", *training]


def failure_reason(lines: Sequence[str]) -> str:
    """Return the reason of a failure from the last lines of the log: the training's own error, not what `torchrun` adds."""
    own = next((line for line in reversed(lines) if line.startswith("Error: ")), None)
    last = own or next((line for line in reversed(lines) if line), "its log is empty")
    return last.removeprefix("Error: ")


@contextmanager
def show_trainings() -> Iterator[Listener]:
    """Yield a listener that shows an epoch bar per training on a terminal, or writes lines to stderr and the run's log."""
    console = stderr_console()
    if not console.is_terminal:
        log = run_log()

        def write(name: str, line: str) -> None:
            console.print(f"{name}: {line}", markup=False)
            if log is not None:
                log.info("%s: %s", name, line)

        yield write
        return
    with bars(console) as group:
        tasks = {}

        def show(name: str, line: str) -> None:
            if name not in tasks:
                tasks[name] = group.add_task(name, total=None)
            epoch = _EPOCH.search(line)
            if epoch:
                group.update(
                    tasks[name], completed=int(epoch[1]), total=int(epoch[2]), description=f"{name}: {line[epoch.end() + 2 :]}"
                )
            else:
                group.update(tasks[name], description=f"{name}: {line}")

        yield show


def run_log() -> "Logger | LoggerAdapter[Logger] | None":
    """Return the log of the current flow run, which Prefect's page shows, or ``None`` outside a run."""
    from prefect import get_run_logger
    from prefect.exceptions import MissingContextError

    try:
        return get_run_logger()
    except MissingContextError:
        return None
