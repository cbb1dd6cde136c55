"""Early start of a command's worker processes, while the command imports its own modules."""

import os
from typing import Final

from vitau.preloading import start_preloading

COMMANDS: Final = "flows.cli.app"
"""The main module of a command, which Python imports in each worker."""
SUBJECTS: Final = "flows.execution.subject_worker"
FOLDS: Final = "flows.crossvalidation.fold_worker"


def start_workers(module: str, engine: str, num_processes: int | None) -> None:
    """Start to import a module for worker processes, unless this process does all the work, or Ray.

    Args:
        module: with the work of the processes.
        engine: name of the executor.
        num_processes: processes that work, this one included; by default one per core.
    """
    if engine == "local" and (num_processes or os.cpu_count() or 1) > 1:
        start_preloading([module, COMMANDS])
