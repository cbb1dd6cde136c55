"""How the commands talk: data on stdout, talk on stderr, and the services that they work on."""

import json
import os
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from flows import stack
from vitau.errors import StackError

DEMO: Final = Path("demo")
State = Annotated[Path, typer.Option(help="Folder that keeps everything the local services know.")]


def point_at(state: Path) -> None:
    """Point the environment at a state folder's services, or leave it as the operator set it.

    Raises:
        StackError: neither is there.
    """
    running = stack.running(state)
    if running:
        os.environ.update(stack.environment(state, running))
    elif "VITAU_STORE" not in os.environ:
        raise StackError(f"no services run on {state}: start them with `make up`, or set VITAU_STORE and its companions")


def report(facts: Any) -> None:
    """Print facts as JSON on stdout."""
    typer.echo(json.dumps(facts, indent=1))


def tell(sentence: str) -> None:
    """Talk to people on stderr."""
    typer.echo(sentence, err=True)
