"""The command ``vitau benchmark``: a leaderboard on drawn people."""

from pathlib import Path
from typing import Annotated

import typer

from vitau.commands.models import ModelOption, TrackingOption, open_models
from vitau.progress import bar
from vitau.registry import DEFAULT_TRACKING_URI


def benchmark(
    *,
    out: Annotated[Path, typer.Option("--out", help="Folder of the leaderboard and of all verdicts.", show_default=False)],
    model: ModelOption = None,
    people: Annotated[int, typer.Option(help="Number of drawn people, even; a larger number extends a smaller one.")] = 300,
    processes: Annotated[
        int | None, typer.Option(help="Number of processes; by default one per core.", min=1, show_default=False)
    ] = None,
    tracking_uri: TrackingOption = DEFAULT_TRACKING_URI,
) -> None:
    """Judge the movement score, the model of the two halves and models on drawn people.

    The people are the same for everybody: three difficulties, three styles.
    Two of the styles are in no training.
    Writes benchmark.html, benchmark.csv and benchmark.json.
    Killed and run again, it continues. 300 people take half an hour on two cores.
    """
    from vitau.judging import benchmark as bench
    from vitau.judging.judges import ASYMMETRY, MOVEMENT
    from vitau.judging.page import STATEMENT, write_leaderboard
    from vitau.judging.standings import standings

    found = [bench.Contestant(name=name, folder=folder) for name, folder in open_models(model or [], tracking_uri)]
    contestants = [bench.Contestant(name=MOVEMENT), bench.Contestant(name=ASYMMETRY), *found]
    missing = bench.num_missing(out, contestants, people)
    minutes = bench.expected_minutes(missing, len(found), processes)
    typer.echo(f"{missing} of {people * 3} clips are to be judged: about {minutes:.0f} min on free cores.", err=True)
    with bar("judging", people * 3, transient=True) as update:
        judged = bench.run(out, contestants, people, num_processes=processes, progress=update)
    rows = [row for name, own in judged.items() for row in standings(name, own)]
    page = write_leaderboard(out, bench.describe(contestants), rows)
    for row in rows:
        if row.difficulty == "all" and row.auroc.value is not None:
            typer.echo(
                f"{row.judge}\t{row.style}\tAUROC {row.auroc.value:.3f}\t{row.num_judged} of {row.num_people} people judged"
            )
    typer.echo(STATEMENT, err=True)
    typer.echo(page)
