"""The command ``vitau compare``."""

from pathlib import Path
from typing import Annotated

import typer


def compare(
    first: Annotated[Path, typer.Argument(help="Output folder of `vitau measure` of the first visit.", show_default=False)],
    second: Annotated[Path, typer.Argument(help="The same of the second visit.", show_default=False)],
    *,
    out: Annotated[
        Path, typer.Option("--out", help="Write changes.csv and changes.html into this folder.", show_default=False)
    ],
    inputs: Annotated[
        tuple[str, str] | None,
        typer.Option(help="Names of the two inputs, if a folder holds several.", show_default=False),
    ] = None,
) -> None:
    """Compare two visits of one person.

    Writes the change of each measure with its smallest detectable change.
    Prints the measures that changed by more than that, one per line.
    """
    from vitau.measures.reporting.compare import read_visit, warnings, write_comparison

    names = inputs or (None, None)
    visits = read_visit(first, names[0]), read_visit(second, names[1])
    changes = write_comparison(*visits, out)
    for warning in warnings(*visits):
        typer.echo(f"Warning: {warning}", err=True)
    detectable = [change for change in changes if change.exceeds]
    for change in detectable:
        moved = ", ".join(f"{name} {getattr(change, f'{name}_change'):+.3f}" for name in change.exceeds)
        typer.echo(f"{change.exercise}\t{change.measure}\t{moved}\tdetectable from {change.smallest_detectable_change:.3f}")
    unknown = sum(change.reason is not None for change in changes)
    known = len(changes) - unknown
    typer.echo(f"{len(detectable)} of {known} measures changed detectably; {unknown} are not compared.", err=True)
    typer.echo(f"The page is {out / 'changes.html'}", err=True)
