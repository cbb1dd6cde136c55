"""The command `vitau`: draw people, score faces. Data goes to stdout, talk to stderr; an error is one line and exit code 1."""

import sys
from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import typer

import vitau
from vitau.errors import VitauError

# everything heavy is imported inside the command that needs it: `vitau --help` answers at once
app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Facial palsy from clips of faces. For research only; not a medical device.",
)

Out = Annotated[Path, typer.Option("--out", help="Folder for everything that is written.", show_default=False)]

TrackingUri = Annotated[str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="The MLflow server that knows models:/….")]
DEFAULT_TRACKING_URI: Final = "http://127.0.0.1:5000"


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(vitau.__version__)
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and leave.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show where an error comes from.")] = False,
) -> None:
    del version, debug  # the first has left by now; main reads the second, since it sees errors of every command


@app.command()
def synth(
    out: Annotated[Path, typer.Argument(help="Folder for clips/, manifest.csv and truth.csv.", show_default=False)],
    subjects: Annotated[int, typer.Option(min=1, help="People to draw; half of them are palsied.")] = 20,
    seed: Annotated[int, typer.Option(help="Names the population.")] = 0,
) -> None:
    """Draw people with a known palsy: one short clip each, a manifest to ingest, the truth to compare with."""
    from vitau.media.synthetic.cohort import write_cohort

    with _progress() as bar:
        task = bar.add_task("draw people", total=subjects)
        manifest = write_cohort(out, subjects, seed, progress=lambda done, total: bar.update(task, completed=done, total=total))
    typer.echo(manifest)


@app.command()
def pull(
    model: Annotated[str, typer.Argument(help="models:/NAME@champion or models:/NAME/VERSION.")],
    folder: Annotated[Path, typer.Argument(help="Gets the model; one that holds it already is left as it is.")],
    *,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Fetch a registered model: weights, cards, thresholds, metrics, evidence, licence of the landmarks, checksums."""
    from vitau.registry.download import pull as run  # MLflow takes seconds

    pulled = run(tracking_uri, model, folder, watch=_watch_files)
    found = pulled.version
    told = f"{pulled.num_fetched} of {pulled.num_files} files fetched" if pulled.num_fetched else "it was there already"
    typer.echo(folder)
    typer.echo(f"{found.name} version {found.version}, {told}; read README.md in it first", err=True)


@app.command()
def check(folder: Annotated[Path, typer.Argument(help="A pulled model.", show_default=False)]) -> None:
    """Compare every file of a pulled model with its checksum; exit code 1 if a byte differs."""
    from vitau.registry.bundle import check as run

    count = run(folder)
    if not count:
        raise VitauError(f"{folder} has no SHA256SUMS: give the folder of a pulled model")
    typer.echo(f"{count} files are what was registered")


@app.command()
def export(
    model: Annotated[str, typer.Argument(help="models:/NAME@champion, models:/NAME/VERSION, or a model folder.")],
    out: Out,
    *,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Write the networks as ONNX, compare them with torch, and say what goes in and out in onnx.json."""
    from vitau.scoring.export import export_onnx

    for exported in export_onnx(_model_folder(model, tracking_uri), out):
        typer.echo(f"{out / exported.file}\topset {exported.opset}\tlargest difference from torch {exported.worst:.1e}")


@app.command()
def score(
    model: Annotated[str, typer.Argument(help="models:/NAME@champion, models:/NAME/VERSION, or a model folder.")],
    inputs: Annotated[list[Path], typer.Argument(help="Photos, clips, folders of them.", show_default=False)],
    out: Out,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    analyse_all: Annotated[bool, typer.Option(help="Ask for the regions of healthy faces as well.")] = False,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Score faces: tables, overlays and report.html in a folder; what cannot be scored is said and the rest is done."""
    import json

    from vitau.scoring.batch import lines, person_record, score_inputs
    from vitau.scoring.predict import Predictor

    folder = _model_folder(model, tracking_uri)
    predictor = Predictor(folder)
    metrics = folder / "metrics.json"
    result = score_inputs(
        predictor,
        inputs,
        out,
        model_name=model if model.startswith("models:") else folder.name,
        metrics=json.loads(metrics.read_text(encoding="utf-8")) if metrics.is_file() else None,
        analyse_all=analyse_all,
        watch=_watch,
    )
    for skipped in result.skipped:
        typer.echo(f"Skipped {skipped.item}: {skipped.reason}", err=True)
    if result.num_ignored:
        typer.echo(f"Ignored {result.num_ignored} files in folders that are neither pictures nor recordings.", err=True)
    for note in sorted({note for person in result.people for note in person.notes}):
        typer.echo(f"Note: {note}", err=True)
    if as_json:
        people = [person_record(person) for person in result.people]
        skips = [{"item": skipped.item, "reason": skipped.reason} for skipped in result.skipped]
        found = {"synthetic": predictor.synthetic, "model": predictor.digest, "people": people, "skipped": skips}
        typer.echo(json.dumps({**found, "report": str(out / "report.html")}, ensure_ascii=False))
    else:
        if predictor.synthetic:
            typer.echo("This model has learnt from drawings; what it says about real people means nothing.", err=True)
        for line in lines(result):
            typer.echo(line)
    typer.echo(f"The report is {out / 'report.html'}", err=True)
    raise typer.Exit(1 if result.skipped else 0)


@app.command()
def bench(
    name: Annotated[str, typer.Argument(help="frames, gradcam, regions, or all.", show_default=False)],
    *,
    rounds: Annotated[int | None, typer.Option(min=1, help="Pairs to time; each bench has a number of its own.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per bench, each on a line.")] = False,
) -> None:
    """Measure our work beside an honest baseline, in turns; ratios above 1 say that ours is faster."""
    from rich.console import Console

    from vitau.bench.run import as_json as to_json
    from vitau.bench.run import as_table as to_table
    from vitau.bench.run import run

    failed = False
    with _progress() as bar:
        task = bar.add_task("bench", total=None)
        watch = partial(_show_round, bar, task)
        for result in run(name, rounds, watch):
            if isinstance(result, VitauError):
                failed = True
                typer.echo(f"Error: {result}", err=True)
            elif as_json:
                typer.echo(to_json(result))
            else:
                Console().print(to_table(result))
    raise typer.Exit(1 if failed else 0)


def main() -> None:
    """Run the command; a ViTAU error or a bad argument's ValueError becomes one line and exit code 1."""
    try:
        app()
    except (VitauError, ValueError, OSError) as error:
        if "--debug" in sys.argv:
            raise
        typer.echo(f"Error: {error}", err=True)
        sys.exit(1)


def _model_folder(model: str, tracking_uri: str) -> Path:
    if not model.startswith("models:"):
        return Path(model)
    from vitau.registry.download import model_folder  # MLflow takes seconds

    return model_folder(model, tracking_uri, watch=_watch_files)


def _progress() -> Any:
    """A progress bar with rate and time left on stderr, silent where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal, transient=True)


def _show_round(bar: Any, task: Any, case: str, done: int, total: int) -> None:
    bar.update(task, description=case, completed=done, total=total)


def _watch(paths: Iterable[Path], total: int) -> Iterator[Path]:
    with _progress() as bar:
        yield from bar.track(paths, total=total, description="score")


def _watch_files(names: Iterable[str], total: int) -> Iterator[str]:
    with _progress() as bar:
        yield from bar.track(names, total=total, description="pull")


if __name__ == "__main__":
    main()
