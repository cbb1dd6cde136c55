"""The run of a small program: an error is one sentence on stderr, and exit code 1."""

import typer

from vitau.errors import VitauError


def run(app: typer.Typer) -> None:
    """Run a program's command; an error is one sentence and exit code 1."""
    try:
        app()
    except (VitauError, ValueError, OSError) as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(1) from error
