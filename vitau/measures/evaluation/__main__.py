"""``python -m vitau.measures.evaluation``: draw people, measure them as ``vitau measure`` does, and compare with the truth."""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

from vitau.command_line import run
from vitau.measures.evaluation.drawn import Count, Evaluation, evaluate_cohort
from vitau.measures.landmarks.choice import open_backend
from vitau.measures.run import measure_sources
from vitau.measures.sources import Source, list_sources
from vitau.media.inputs import RecordingOptions
from vitau.media.synthetic.cohort import write_cohort
from vitau.progress import bar, track

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def evaluate(
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawn people; one on which nothing was fitted or tuned.")],
    people: Annotated[int, typer.Option(min=1, help="Drawn people; half of them have a palsy.")] = 60,
    out: Annotated[
        Path | None,
        typer.Option(help="Keep the clips (people) and the tables (measured) in this folder.", show_default=False),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Judge exercises, side and the flag of the forehead on drawn people.

    The definitions are those of docs/measures.md.
    The exit code is 1 where a limit is missed.
    """
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory())) if out is None else out
        with bar("drawing people", people, transient=True) as update:
            write_cohort(folder / "people", people, seed, progress=update)
        measure_cohort(folder / "people", folder / "measured")
        result = evaluate_cohort(folder / "people", folder / "measured")
    if as_json:
        typer.echo(json.dumps({"people": people, "seed": seed, **asdict(result)}))
    else:
        typer.echo("\n".join(_lines(result, people, seed)))
    raise typer.Exit(1 if result.missed else 0)


def measure_cohort(cohort: Path, out: Path) -> None:
    """Measure the clips of a cohort with the default landmarks, by the function that ``vitau measure`` calls."""
    listed = list_sources([cohort / "clips"], RecordingOptions())
    result = measure_sources(listed, out, backend=open_backend(), watch=_watch)
    for skipped in result.skipped:
        typer.echo(f"Skipped {skipped.item}: {skipped.reason}", err=True)


def _watch(sources: Iterable[Source], total: int) -> Iterable[Source]:
    return track(sources, "measuring people", total, transient=True)


def _lines(result: Evaluation, num_people: int, seed: int) -> list[str]:
    auroc = "not defined" if result.auroc is None else f"{result.auroc:.3f}"
    return [
        f"{num_people} drawn people of seed {seed}",
        *(_line(count) for count in result.counts),
        f"{'exercises named that nobody performed':42}{result.num_others:4}",
        f"{'AUROC of asymmetry, palsy against control':42}  {auroc}",
        *(f"wrong: {sentence}" for sentence in result.wrong),
    ]


def _line(count: Count) -> str:
    share = "none" if count.share is None else f"{count.share:.1%}"
    limit = "" if count.limit is None else f"   limit {count.limit:.0%}: {'MISSED' if count.missed else 'reached'}"
    return f"{count.name:42}{count.right:4} of {count.total:4} {share:>7}{limit}"


if __name__ == "__main__":
    run(app)
