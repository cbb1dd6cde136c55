"""Shared parts of commands: an error is one sentence on stderr and exit code 1; and the help of an option."""

from typing import Final

import typer

from vitau.errors import VitauError

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
