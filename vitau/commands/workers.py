"""Early start of the processes of `vitau score` and `vitau measure`."""

import os
from collections.abc import Iterable
from pathlib import Path

from vitau.preloading import start_preloading


def start_workers(module: str, paths: Iterable[Path], workers: int | None) -> None:
    """Start to import a module for the processes of a command, unless it has photos only, one process, or one core.

    Args:
        module: with the work of the processes.
        paths: photos and clips.
        workers: processes that the user wants.
    """
    from vitau.media.clips import PHOTO_SUFFIXES  # it loads the decoders

    if workers != 1 and len(os.sched_getaffinity(0)) > 1 and any(path.suffix.lower() not in PHOTO_SUFFIXES for path in paths):
        start_preloading([module, "typer"])
