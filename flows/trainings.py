"""Trainings as processes of their own: started, listened to, shown side by side."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, TypeAlias

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from flows.settings import ROOT
from vitau.errors import TrainingError

Listener: TypeAlias = Callable[[str, str], None]
"""Hears (name of the training, what it said)."""

_EPOCH: Final = re.compile(r"epoch (\d+)/(\d+)")
_KEPT_LINES: Final = 20


def run_training(name: str, arguments: Sequence[str], listener: Listener, *, num_at_once: int = 1) -> None:
    """Run ``python -m vitau.training`` with its share of the cores, and hand on what it says, line by line.

    Raises:
        TrainingError: it failed; its last sentence is the reason.
    """
    share = max(1, (os.cpu_count() or 1) // num_at_once)
    environment = {"VITAU_TORCH_THREADS": str(share), "OMP_NUM_THREADS": str(share), **os.environ, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "vitau.training", *arguments]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, errors="replace"
    ) as process:
        assert process.stderr is not None
        said: list[str] = []
        for line in process.stderr:
            said = [*said, line.rstrip()][-_KEPT_LINES:]
            listener(name, line.rstrip())
    if process.returncode:
        reason = next((line for line in reversed(said) if line), "it said nothing").removeprefix("Error: ")
        raise TrainingError(f"{name} ended with exit code {process.returncode}: {reason}")


@contextmanager
def shown() -> Iterator[Listener]:
    """Show what trainings say: a bar of epochs for each on a terminal, plain lines elsewhere."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    if not console.is_terminal:
        yield lambda name, line: console.print(f"{name}: {line}", markup=False)
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
