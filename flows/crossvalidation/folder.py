"""The folder of a cross-validation: one run at a time writes to it, and partial files of killed runs are removed.

This module does not import Prefect, so that worker processes start quickly.
"""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from vitau.progress import Reporter
from vitau.store.atomic import make_private_folders, remove_partials

FOLDS: Final = "folds"
OUTPUTS: Final = ("predictions.parquet", "table.csv", "table.md", "report.html")
"""Files that a run writes beside the folds when all are complete."""
_POLL_S: Final = 0.5


@contextmanager
def only_run(out: Path) -> Iterator[None]:
    """Keep other runs from writing to the folder ``out`` inside the block; wait for one that does.

    Partial files of killed runs are removed first, after the last of their workers has ended.
    """
    folds = out / FOLDS
    make_private_folders(folds)
    with _locked(out, fcntl.LOCK_EX) as is_locked:
        with _locked(folds, fcntl.LOCK_EX) as is_quiet:
            if is_locked and is_quiet:
                remove_partials(folds)
                for name in OUTPUTS:
                    remove_partials(out, Path(name).stem)
        yield


@contextmanager
def fold_lock(folds: Path) -> Iterator[None]:
    """Keep the next run from starting while a worker of this one writes: a worker outlives a killed run for a moment."""
    with _locked(folds, fcntl.LOCK_SH):
        yield


@contextmanager
def _locked(folder: Path, kind: int) -> Iterator[bool]:
    """Acquire an advisory lock on a folder for the block; it ends with the process, however that ends.

    Yields:
        False if the file system has no locks on folders, as some network file systems.
    """
    with ExitStack() as stack:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        stack.callback(os.close, descriptor)
        yield _acquire(descriptor, kind)


def _acquire(descriptor: int, kind: int) -> bool:
    is_told = False
    while True:
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            if not is_told:
                Reporter().line("waiting for another cross-validation that writes to the same folder")
                is_told = True
            time.sleep(_POLL_S)
        except OSError:
            return False
        else:
            return True
