"""Console of the commands: data on stdout, messages on stderr, and the options that several commands share."""

import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from flows.execution.executor import Engine
from flows.settings import SIZES

DEMO: Final = Path("demo")
COHORTS: Final = ("palsy", "control")
LAYOUTS: Final = ("manifest", "ckplus", "photos", "unknown")
MODELS: Final = ("vitau-palsy", "vitau-regions")


def check_choice(kind: str, names: Sequence[str]) -> Callable[[str | None], str | None]:
    """Return the callback of an option that takes one of some names; another one raises ``ValueError``, one sentence."""

    def check(name: str | None) -> str | None:
        if name is not None and name not in names:
            raise ValueError(f"no {kind} {name}: choose {', '.join(names[:-1])} or {names[-1]}")
        return name

    return check


State = Annotated[Path, typer.Option(help="State folder of the local services.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON for a program to read.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask for a confirmation.")]
EngineName = Annotated[
    str,
    typer.Option(
        help="local, or ray: a Ray cluster (VITAU_RAY_ADDRESS; without it one is started on this machine).",
        callback=check_choice("engine", tuple(Engine)),
        autocompletion=lambda: list(Engine),
    ),
]
Size = Annotated[
    str,
    typer.Option(
        help="Recipe size: tiny, small, base, paper, or smoke, which only shows that the parts fit together.",
        callback=check_choice("recipe size", SIZES),
        autocompletion=lambda: list(SIZES),
    ),
]


def print_json(facts: Any) -> None:
    """Print facts as JSON on stdout; dataclasses become objects."""
    typer.echo(json.dumps(facts, indent=1, default=_fields, ensure_ascii=False))


def tell(sentence: str) -> None:
    """Print a message for people on stderr."""
    typer.echo(sentence, err=True)


def tell_all(sentences: Iterable[str]) -> None:
    """Print messages for people on stderr, one per line."""
    for sentence in sentences:
        tell(sentence)


def confirm(action: str, *, yes: bool) -> None:
    """Request a confirmation on a terminal; ``yes`` skips the question, and a refusal ends the command with exit code 1.

    Raises:
        ValueError: there is no terminal to ask on.
    """
    if yes:
        return
    if not sys.stdin.isatty():
        raise ValueError(f"{action} needs a confirmation, and this is not a terminal: add --yes")
    typer.confirm(f"{action}. Continue?", abort=True, err=True)


def render_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return rows as aligned columns below a header; an empty string if there are no rows."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    aligned = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    return "\n".join(aligned) if len(lines) > 1 else ""


def print_findings(findings: Iterable[tuple[str, str, str]]) -> None:
    """Print a table of checks on stdout: name, result, sentence."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    colors = {"ok": "green", "warning": "yellow", "failed": "bold red", "not applicable": "dim"}
    table = Table("check", "result", "", box=box.SIMPLE)
    for check, result, sentence in findings:
        table.add_row(check, f"[{colors[result]}]{result}[/]", Text(sentence))
    Console().print(table)


def _fields(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
