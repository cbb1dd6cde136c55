"""``python -m flows tables``: every row of the paper's tables on the same people, beside the paper's numbers."""

import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from flows.cli.connection import connect
from flows.cli.console import DEMO, State, check_choice, render_table, tell
from vitau.schema import Protocol

if TYPE_CHECKING:  # torch and Prefect, which `--help` need not load
    from flows.tables.people import People
    from flows.tables.sizes import TableSize

app = typer.Typer()

ALL: Final = "all"
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
    snapshot: Annotated[str, typer.Argument(help="Digest of a snapshot, or `drawn`: people who are drawn, without services.")],
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
    from flows.tables.outputs import markdown
    from flows.tables.plan import TablePlan
    from flows.tables.run import make_tables
    from flows.tables.sizes import SIZES as ALL_SIZES
    from flows.tables.words import cells, header
    from vitau.baselines.tables import TABLES, RowSettings
    from vitau.store.atomic import write_atomic

    chosen, num_processes = ALL_SIZES[size], len(os.sched_getaffinity(0))
    people, weights = find_people(snapshot, chosen, out, state, num_processes)
    plan = TablePlan(
        names=[name for name in TABLES if table in (ALL, name)],
        people=people,
        protocol=Protocol(protocol),
        num_seeds=seeds,
        budget=replace(chosen.budget, device=choose_device()),
        settings=RowSettings(recipes=chosen.recipes, dinov2=(dinov2,) if dinov2 else (), weights=weights),
        only=frozenset(name.strip() for name in methods.split(",") if name.strip()),
    )
    finished = make_tables(plan, out, num_processes=num_processes)
    if page is not None:
        command = f"python -m flows tables {table} {snapshot} --size {size} --protocol {protocol} --seeds {seeds}"
        write_atomic(page, markdown(finished, command), mode=0o644)
    for made in finished:
        typer.echo(render_table(header(made)[:6], [cells(made, row)[:6] for row in made.rows]))
    tell(f"Tables and figures are in {out}; {out / 'tables.html'} has all")


def find_people(
    snapshot: str, size: "TableSize", out: Path, state: Path, num_processes: int
) -> "tuple[People, tuple[str, ...]]":
    """Return the people of a table, drawn or of a snapshot, and the sources of the weights that the settings name.

    Raises:
        TrainingError: a person has two names in the snapshot.
    """
    from flows.tables.people import DRAWN, People, draw_people
    from vitau.progress import Reporter

    if snapshot == DRAWN:
        with Reporter().task("draw people") as step:
            return draw_people(size.drawn, out / "people", num_processes=num_processes, progress=step), ()
    settings = connect(state)
    from flows.crossvalidation.crossvalidate import check_distinct
    from flows.erasure.living import load_living
    from flows.workspace import open_workspace
    from vitau.data.snapshot import describe

    workspace = open_workspace(settings)
    living = load_living(workspace, snapshot)
    check_distinct(workspace, snapshot, living)
    people = People(
        store_uri=settings.store,
        snapshot=snapshot,
        rows=living.rows,
        without=living.names,
        cache=workspace.folder("crops"),
        synthetic=describe(living.rows, snapshot, "").synthetic,
        num_erased=living.num_erased,
    )
    return people, tuple(settings.weights_regions)


def choose_device() -> str:
    """Return the device of all fits: a GPU if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"
