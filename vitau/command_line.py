"""Shared parts of commands: an error is one sentence on stderr and exit code 1; and the help of an option."""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import typer

from vitau.errors import VitauError
from vitau.preloading import start_preloading

WORKERS_HELP: Final = (
    "Processes for many clips; by default one per core, and one for fewer than four clips. Results do not change."
)


def run(app: typer.Typer) -> None:
    """Run a program's command; an error is one sentence and exit code 1."""
    try:
        app()
    except (VitauError, ValueError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(1) from error


def start_workers(module: str, paths: Iterable[Path], workers: int | None) -> None:
    """Start to import a module for the processes of a command, unless it has photos only, one process, or one core.

    Args:
        module: with the work of the processes.
        paths: photos and clips.
        workers: processes that the user wants.
    """
    from vitau.media.clips import PHOTO_SUFFIXES  # the decoders take a tenth of a second

    if workers != 1 and len(os.sched_getaffinity(0)) > 1 and any(path.suffix.lower() not in PHOTO_SUFFIXES for path in paths):
        start_preloading([module, "vitau.cli"])
