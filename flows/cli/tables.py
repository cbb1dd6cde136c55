"""``python -m flows tables``: every row of the paper's tables on the same people, beside the paper's numbers."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Final

import typer

from flows.cli.connection import connect
from flows.cli.console import DEMO, State, check_choice, render_table, tell
from vitau.schema import Protocol

app = typer.Typer()

ALL: Final = "all"
DRAWN: Final = "drawn"
"""Stands for a snapshot: the people are drawn."""
LABELS: Final = ".csv"
"""Ends the name of a table of labels."""
NAMES: Final = ("recognition", "regions", "losses", "features", ALL)
SIZES: Final = ("smoke", "tiny", "paper")
PROTOCOLS: Final = tuple(map(str, Protocol))


@app.command()
def tables(  # noqa: PLR0913 - an argument for each option of the command
    table: Annotated[
        str,
        typer.Argument(
            help="recognition, regions, losses or features: Tables 1 to 4 of the paper; or all.",
            callback=check_choice("table", NAMES),
            autocompletion=lambda: list(NAMES),
        ),
    ],
    snapshot: Annotated[
        str,
        typer.Argument(
            help="Digest of a snapshot. Without services: `drawn` for drawn people, or a CSV of labels with clips beside it."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Folder of the predictions and the tables; complete fits are kept.")],
    protocol: Annotated[
        str,
        typer.Option(
            help="subjects, lopo or frames.",
            callback=check_choice("protocol", PROTOCOLS),
            autocompletion=lambda: list(PROTOCOLS),
        ),
    ] = "subjects",
    size: Annotated[
        str,
        typer.Option(
            help="smoke, tiny or paper: how much every method trains, and how many people are drawn.",
            callback=check_choice("table size", SIZES),
            autocompletion=lambda: list(SIZES),
        ),
    ] = "tiny",
    *,
    seeds: Annotated[int, typer.Option(min=1, help="Fits of each fold; three or more show the deviation.")] = 3,
    methods: Annotated[str, typer.Option(help="Some methods alone, by name with commas between.")] = "",
    dinov2: Annotated[str, typer.Option(help="Weights of timm's vit_small_patch14_dinov2, a path or store:KEY.")] = "",
    page: Annotated[Path | None, typer.Option(help="Write the tables as Markdown here too.", show_default=False)] = None,
    state: State = DEMO,
) -> None:
    """Fit every method of the paper's tables on the same people, and write each table beside the paper's numbers.

    Killed and started again, it continues with the missing fits. A method that fails is listed with its reason, and the others
    go on.

    Example: python -m flows tables all drawn --size tiny --out tables
    """
    labels = Path(snapshot) if snapshot.endswith(LABELS) else None
    settings = None if snapshot == DRAWN or labels else connect(state)
    from flows.tables.outputs import markdown
    from flows.tables.plan import TablePlan
    from flows.tables.run import make_tables
    from flows.tables.sizes import SIZES as TABLE_SIZES
    from flows.tables.sources import drawn_source, labels_source, snapshot_source
    from flows.tables.words import cells, header
    from vitau.baselines.tables import TABLES, RowSettings
    from vitau.store.atomic import write_atomic

    chosen, num_processes = TABLE_SIZES[size], len(os.sched_getaffinity(0))
    if labels:
        source = labels_source(labels, out, num_processes)
    else:
        source = drawn_source(chosen.drawn, out, num_processes) if settings is None else snapshot_source(snapshot, settings)
    with source.device() as device:
        plan = TablePlan(
            names=[name for name in TABLES if table in (ALL, name)],
            people=source.people,
            protocol=Protocol(protocol),
            num_seeds=seeds,
            budget=replace(chosen.budget, device=device),
            settings=RowSettings(
                recipes=chosen.recipes,
                dinov2=(dinov2,) if dinov2 else (),
                weights=source.weights,
                drawn_people=chosen.drawn_people,
                pretrained=str(out.resolve() / "pretrained"),
            ),
            only=frozenset(name.strip() for name in methods.split(",") if name.strip()),
        )
        finished = make_tables(plan, out, num_processes=num_processes)
    source.note_looks(plan, finished)
    if page is not None:
        people = labels.name if labels else snapshot
        command = f"python -m flows tables {table} {people} --size {size} --protocol {protocol} --seeds {seeds}"
        command += f" --methods {methods}" if methods else ""
        write_atomic(page, markdown(finished, command), mode=0o644)
    for made in finished:
        typer.echo(render_table(header(made)[:6], [cells(made, row)[:6] for row in made.rows]))
    tell(f"Tables and figures are in {out}; {out / 'tables.html'} has all")
