"""``python -m flows crossvalidate``: compare protocols on the people of a snapshot."""

from pathlib import Path
from typing import Annotated, Final

import typer

from flows.cli.connection import connect
from flows.cli.console import DEMO, EngineName, Json, Size, State, check_choice, print_json, render_table, tell, tell_all
from flows.execution.executor import FOLDS, start_workers
from vitau.schema import Protocol

app = typer.Typer()

COUNTS: Final = ("all", "paper")


@app.command()
def crossvalidate(  # noqa: PLR0913 - an argument for each option of the command
    snapshot: Annotated[str, typer.Argument(help="Digest of a snapshot.")],
    out: Annotated[Path, typer.Option(help="Folder of the predictions, the tables and the report; complete folds are kept.")],
    protocol: Annotated[
        str, typer.Option(help="subjects, lopo or frames; several with commas between, on the same people in one table.")
    ] = "lopo",
    size: Size = "tiny",
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each fold; three or more show the deviation.")] = 3,
    counts: Annotated[
        str,
        typer.Option(
            help="Images under frames: all, or the paper's numbers, as far as the data has them.",
            callback=check_choice("counts", COUNTS),
            autocompletion=lambda: list(COUNTS),
        ),
    ] = "all",
    state: State = DEMO,
    engine: EngineName = "local",
    *,
    balance_people: Annotated[
        bool, typer.Option("--balance-people", help="Draw every training person equally often, however long the clips.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train and test both models by folds of one or several protocols, and write one table and a report.

    Killed and started again, it continues with the missing folds and writes the same table.

    Example: python -m flows crossvalidate DIGEST --protocol lopo,frames --out crossvalidation
    """
    chosen = parse_protocols(protocol)
    settings = connect(state)
    start_workers(FOLDS, engine, settings.num_trainings)
    from flows.crossvalidation.crossvalidate import crossvalidate as run
    from flows.crossvalidation.tables import METRIC_WORDS, SHOWN, flattery, summary_rows
    from flows.execution.executor import Engine
    from flows.workspace import PrivatePath

    results = run(
        snapshot,
        PrivatePath(out.resolve()),
        protocols=chosen,
        size=size,
        num_seeds=seeds,
        paper_counts=counts == "paper",
        balance_people=balance_people,
        engine=Engine(engine),
        settings=settings,
    )
    if as_json:
        print_json(results)
    else:
        head = ["task", "protocol", "level", "people", *(METRIC_WORDS[name] for name in SHOWN[:3])]
        typer.echo(render_table(head, summary_rows(results)))
    tell_all(flattery(results))
    tell(f"Tables, predictions and report are in {out}")


def parse_protocols(text: str) -> tuple[Protocol, ...]:
    """Return the protocols of a list with commas between.

    Raises:
        ValueError: a name is not a protocol's.
    """
    check = check_choice("protocol", tuple(map(str, Protocol)))
    names = [name.strip() for name in text.split(",")]
    for name in names:
        check(name)
    return tuple(map(Protocol, names))
