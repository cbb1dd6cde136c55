"""Trainings as processes of their own: started, listened to, shown side by side; they leave with the flow that started them."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from logging import Logger, LoggerAdapter
from typing import Final, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from flows.settings import ROOT
from vitau.errors import TrainingError

Listener: TypeAlias = Callable[[str, str], None]
"""Hears (name of the training, what it said)."""

_EPOCH: Final = re.compile(r"epoch (\d+)/(\d+)")
_KEPT_LINES: Final = 60  # of which `torchrun` fills some thirty after a failure


def run_training(
    name: str, arguments: Sequence[str], listener: Listener, *, num_at_once: int = 1, num_processes: int | None = None
) -> None:
    """Run ``python -m vitau.training`` with its share of the cores, and hand on what it says, line by line.

    It holds the other end of the training's stdin: killed, it takes the training along, which then holds no GPU.

    Args:
        name: names it to the listener.
        arguments: of the command.
        listener: hears every line.
        num_at_once: trainings that share this machine's cores.
        num_processes: of this training, under `torchrun`; by default one for each GPU that is visible, one without.

    Raises:
        TrainingError: it failed; its last sentence is the reason.
    """
    num_processes = num_processes or num_gpus() or 1
    share = max(1, (os.cpu_count() or 1) // (num_at_once * num_processes))
    environment = {"VITAU_TORCH_THREADS": str(share), "OMP_NUM_THREADS": str(share), **os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command(arguments, num_processes),
        cwd=ROOT,
        env=environment,
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    ) as process:
        assert process.stderr is not None
        said: list[str] = []
        for line in process.stderr:
            said = [*said, line.rstrip()][-_KEPT_LINES:]
            listener(name, line.rstrip())
    if process.returncode:
        raise TrainingError(f"{name} ended with exit code {process.returncode}: {reason(said)}")


def command(arguments: Sequence[str], num_processes: int) -> list[str]:
    """Say how a training is started: alone, or as several processes by `torchrun`."""
    training = ["-m", "vitau.training", "--leave-with-starter", *arguments]
    if num_processes == 1:
        return [sys.executable, *training]
    return [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={num_processes}", *training]


def num_gpus() -> int:
    """Count the GPUs that a training would see."""
    import torch

    return torch.cuda.device_count()


def reason(said: Sequence[str]) -> str:
    """Find why a training failed in what it said last: its own sentence, below which `torchrun` may have said more."""
    own = next((line for line in reversed(said) if line.startswith("Error: ")), None)
    last = own or next((line for line in reversed(said) if line), "it said nothing")
    return last.removeprefix("Error: ")


@contextmanager
def shown() -> Iterator[Listener]:
    """Show what trainings say: a bar of epochs for each on a terminal, plain lines elsewhere and in the log of the run."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        log = run_log()

        def write(name: str, line: str) -> None:
            console.print(f"{name}: {line}", markup=False)
            if log is not None:
                log.info("%s: %s", name, line)

        yield write
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console) as bars:
        tasks = {}

        def show(name: str, line: str) -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=None)
            epoch = _EPOCH.search(line)
            if epoch:
                bars.update(
                    tasks[name], completed=int(epoch[1]), total=int(epoch[2]), description=f"{name}: {line[epoch.end() + 2 :]}"
                )
            else:
                bars.update(tasks[name], description=f"{name}: {line}")

        yield show


def run_log() -> "Logger | LoggerAdapter[Logger] | None":
    """Return the log of the flow's run, if one is running: Prefect's page shows it."""
    from prefect import get_run_logger
    from prefect.exceptions import MissingContextError

    try:
        return get_run_logger()
    except MissingContextError:
        return None
