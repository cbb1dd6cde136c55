"""The commands of ``python -m flows``, and the one place where an error becomes a sentence and an exit code."""

import os
import sys
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from typer.core import TyperGroup

from flows.cli import crossvalidation, data, demo, labels, models, operations, reports, tables
from flows.cli.connection import export_to_libraries
from flows.cli.console import tell
from flows.local_stack.state import PRIVATE
from vitau.errors import VitauError

_CONSOLE_LEVEL: Final = "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"


class Commands(TyperGroup):
    """Prints what is wrong with the world or an argument as one sentence, exit code 1; ``--debug`` gives the traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (VitauError, ValueError) as error:
            if ctx.params["debug"]:
                raise
            tell(f"Error: {error}")
            raise typer.Exit(1) from None


app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=Path(sys.argv[0]).name == "flows",  # shells complete a program, `.venv/bin/flows`, and no `python -m flows`
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
for commands in (demo.app, data.app, models.app, crossvalidation.app, tables.app, reports.app, operations.app):
    app.add_typer(commands)
app.add_typer(labels.app, name="labels")


@app.callback()
def options(debug: Annotated[bool, typer.Option("--debug", help="Show Prefect's log and tracebacks.")] = False) -> None:
    """Run ViTAU's flows.

    A command works on the services that the environment names; infra/.env.example lists the variables. If neither VITAU_STORE
    nor VITAU_CATALOG is set, it works on the local services that run in --state. It first prints the store and the catalog.
    """
    os.umask(PRIVATE)  # a report, an export and a cache show faces
    if not debug:  # Prefect's server keeps the log
        export_to_libraries({_CONSOLE_LEVEL: os.environ.get(_CONSOLE_LEVEL, "CRITICAL")})
