"""How the commands talk: data on stdout, talk on stderr, and the services that they work on."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.text import Text

DEMO: Final = Path("demo")
State = Annotated[Path, typer.Option(help="Folder that keeps everything the local services know.")]


def report(facts: Any) -> None:
    """Print facts as JSON on stdout."""
    typer.echo(json.dumps(facts, indent=1))


def show_findings(findings: Sequence[tuple[str, str, str]]) -> None:
    """Print a table of checks on stdout: name, result, sentence."""
    from rich import box
    from rich.console import Console
    from rich.table import Table

    colours = {"ok": "green", "warning": "yellow", "failed": "bold red", "not applicable": "dim"}
    table = Table("check", "result", "", box=box.SIMPLE)
    for check, result, sentence in findings:
        table.add_row(check, f"[{colours[result]}]{result}[/]", Text(sentence))
    Console().print(table)


def tell(sentence: str) -> None:
    """Talk to people on stderr."""
    typer.echo(sentence, err=True)
