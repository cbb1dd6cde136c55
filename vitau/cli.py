"""The command ``vitau``.

Data goes to stdout, messages to stderr. An error is one line and exit code 1.
"""

import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Final

import typer

import vitau
from vitau.collector import collector_paused
from vitau.command_line import WORKERS_HELP
from vitau.commands.benchmark import benchmark
from vitau.commands.check import check
from vitau.commands.check_healthy import check_healthy
from vitau.commands.compare import compare
from vitau.commands.measure import measure
from vitau.commands.serve import serve
from vitau.commands.workers import start_workers
from vitau.errors import VitauError
from vitau.progress import bar, track
from vitau.registry import DEFAULT_TRACKING_URI

# heavy modules are imported inside the command that needs them: `vitau --help` must take less than a second
app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Score photos and clips of faces for facial palsy. For research only; not a medical device.",
    epilog="Example: vitau score models:/vitau-regions@champion photo.jpg --out scores",
)

Out = Annotated[Path, typer.Option("--out", help="Write all files into this folder.", show_default=False)]

TrackingUri = Annotated[
    str, typer.Option(envvar="MLFLOW_TRACKING_URI", help="Address of the MLflow server with the registered models.")
]
MODEL_HELP: Final = "A registered model (models:/NAME@champion or models:/NAME/VERSION) or a model folder."
MODEL_EXAMPLE: Final = "models:/vitau-regions@champion"


def _print_version(requested: bool) -> None:
    if requested:
        typer.echo(vitau.__version__)
        raise typer.Exit


@app.callback()
def _options(
    *,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Print the traceback of an error.")] = False,
) -> None:
    os.umask(0o077)  # what it writes shows faces: for the current user only
    del version, debug  # --version has exited by now; main() reads --debug, because it handles the errors of all commands


@app.command(epilog="Example: vitau synth people --subjects 20")
def synth(
    out: Annotated[Path, typer.Argument(help="Folder for clips/, manifest.csv and truth.csv.", show_default=False)],
    subjects: Annotated[int, typer.Option(help="Number of people; half of them have a palsy.")] = 20,
    seed: Annotated[int, typer.Option(help="Seed of the population; another seed draws other people.")] = 0,
    style: Annotated[
        str, typer.Option(help="How they are drawn: painted, filmed or sketched. The people stay the same.")
    ] = "painted",
) -> None:
    """Draw synthetic people with a known palsy.

    Writes one short clip per person, a manifest to ingest, and the truth.
    Prints the path of the manifest.
    """
    from vitau.media.synthetic.cohort import write_cohort
    from vitau.media.synthetic.values import parse_style

    drawn = parse_style(style)
    with bar("drawing people", subjects, transient=True) as update:
        manifest = write_cohort(out, subjects, seed, style=drawn, progress=update)
    typer.echo(manifest)


@app.command(epilog=f"Example: vitau pull {MODEL_EXAMPLE} my-model")
def pull(
    model: Annotated[str, typer.Argument(help="A registered model: models:/NAME@champion or models:/NAME/VERSION.")],
    folder: Annotated[Path, typer.Argument(help="Folder for the model; a model that is complete is not fetched again.")],
    *,
    key: Annotated[
        str | None,
        typer.Option(
            help="Public key of the operator, or a file with it: refuse a model that it did not sign.", show_default=False
        ),
    ] = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Fetch a registered model into a folder.

    The folder gets weights, model cards, thresholds, metrics, checksums,
    the evidence of the promotion, and the license of the landmark model.
    """
    from vitau.registry.download import pull as run  # MLflow takes seconds
    from vitau.registry.signature import read_public_key

    public_key = None if key is None else read_public_key(key)
    pulled = run(tracking_uri, model, folder, watch=_watch_files, public_key=public_key)
    version = pulled.version
    outcome = (
        f"{pulled.num_fetched} of {pulled.num_files} files fetched" if pulled.num_fetched else "all files are there already"
    )
    typer.echo(folder)
    signed = "its signature was not checked (--key)" if public_key is None else f"its signature by {public_key[:12]}… holds"
    typer.echo(f"{version.name} version {version.version}: {outcome}; {signed}. Read its README.md first.", err=True)


@app.command(epilog="Example: vitau export my-model --out my-onnx")
def export(
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    out: Out,
    *,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Write the networks of a model as ONNX.

    Compares each network with PyTorch.
    Describes inputs and outputs in onnx.json.
    """
    from vitau.scoring.export import export_onnx

    for exported in export_onnx(_model_folder(model, tracking_uri), out):
        typer.echo(f"{out / exported.file}\topset {exported.opset}\tlargest difference from PyTorch {exported.worst:.1e}")


@app.command(epilog=f"Example: vitau score {MODEL_EXAMPLE} photo.jpg clip.mp4 --out scores")
def score(  # noqa: PLR0913 - an argument for each option of the command
    model: Annotated[str, typer.Argument(help=MODEL_HELP)],
    inputs: Annotated[list[Path], typer.Argument(help="Photos, clips, or folders of them.", show_default=False)],
    out: Out,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    analyse_all: Annotated[
        bool,
        typer.Option("--analyze-all", "--analyse-all", help="Analyze the regions of faces without a recognized palsy too."),
    ] = False,
    mirrored: Annotated[
        bool, typer.Option("--mirrored", help="The pictures are mirror images, as of a phone's front camera.")
    ] = False,
    start: Annotated[
        float | None, typer.Option(help="Score clips from this second of the recording on.", show_default=False)
    ] = None,
    end: Annotated[
        float | None, typer.Option(help="Score clips up to this second of the recording.", show_default=False)
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(help="Frames per second of image sequences (tar); by default every image is scored.", show_default=False),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help=WORKERS_HELP, show_default=False)] = None,
    tracking_uri: TrackingUri = DEFAULT_TRACKING_URI,
) -> None:
    """Score photos and clips of faces.

    Writes tables, overlays and report.html, and prints one line per person.
    They name files by number; items.csv has the path of each.
    Frames outside the limits of the model's training frames are left out.
    The options about recordings apply to all inputs.
    A file that cannot be scored is listed with its reason.
    The other files are scored, and the exit code is 1.
    """
    import json

    with collector_paused():
        from vitau.media.inputs import RecordingOptions, default_workers, list_files, num_readers

        files, _ = list_files(inputs)
        start_workers("vitau.scoring.batch", files, workers)
        from vitau.data.parquet import leave_pandas_out
        from vitau.evaluation.metrics import metrics_from_json
        from vitau.registry.bundle import read_version
        from vitau.scoring.batch import person_record, score_inputs, summary_lines
        from vitau.scoring.predict import Predictor

    leave_pandas_out()
    options = RecordingOptions(mirrored=mirrored, start_s=start, end_s=end, fps=fps)
    folder = _model_folder(model, tracking_uri)
    predictor = Predictor(folder)
    metrics, pulled = folder / "metrics.json", read_version(folder)
    num_processes = workers or (default_workers(files) if predictor.device.type == "cpu" else 1)
    result = score_inputs(
        predictor,
        inputs,
        out,
        model_name=model if model.startswith("models:") else folder.name,
        metrics=metrics_from_json(json.loads(metrics.read_text(encoding="utf-8"))) if metrics.is_file() else None,
        analyse_all=analyse_all,
        options=options,
        num_processes=num_processes,
        num_readers=num_readers(num_processes, len(files), workers),
        watch=_watch,
    )
    for skipped in result.skipped:
        typer.echo(f"Skipped item {skipped.item}, {result.paths[skipped.item]}: {skipped.reason}", err=True)
    if result.num_ignored:
        typer.echo(f"Ignored {result.num_ignored} files in folders: they are neither photos nor clips.", err=True)
    for warning in predictor.warnings:
        typer.echo(f"Warning: {warning}", err=True)
    for note in sorted({note for person in result.people for note in person.notes} - set(predictor.warnings)):
        typer.echo(f"Note: {note}", err=True)
    if as_json:
        people = [person_record(person) for person in result.people]
        skips = [
            {"item": int(skipped.item), "input": str(result.paths[skipped.item]), "reason": skipped.reason}
            for skipped in result.skipped
        ]
        about = {"synthetic": predictor.synthetic, "warnings": predictor.warnings, "model": predictor.digest}
        about |= {name: pulled[name] for name in ("name", "version", "run_id") if name in pulled}
        record = {**about, "people": people, "skipped": skips}
        typer.echo(json.dumps({**record, "report": str(out / "report.html")}, ensure_ascii=False))
    else:
        if predictor.synthetic:
            typer.echo("This model was trained on synthetic faces. What it predicts for real people means nothing.", err=True)
        for line in summary_lines(result):
            typer.echo(line)
    version = "{name} version {version}, run {run_id}, ".format(**pulled) if pulled else ""
    typer.echo(f"Model: {version}digest {predictor.digest}", err=True)
    typer.echo(f"The report is {out / 'report.html'}", err=True)
    raise typer.Exit(1 if result.skipped else 0)


app.command(epilog="Example: vitau measure clip.mp4 --out measures")(measure)
app.command(epilog="Example: vitau serve")(serve)
app.command(epilog="Example: vitau compare january june --out change")(compare)
app.command(epilog="Example: vitau check my-model; vitau check clip.mp4")(check)
app.command(epilog="Example: vitau benchmark --out benchmark --people 12")(benchmark)
app.command("check-healthy", epilog="Example: vitau check-healthy staff-videos --out healthy.csv")(check_healthy)


@app.command(epilog="Example: vitau bench gradcam")
def bench(
    name: Annotated[str, typer.Argument(help="Name of a benchmark, such as ingest or gradcam, or all.", show_default=False)],
    *,
    rounds: Annotated[int | None, typer.Option(help="Number of paired measurements; by default that of the benchmark.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per benchmark, one per line.")] = False,
    page: Annotated[
        Path | None, typer.Option(help="Write the results to sections of this Markdown page too.", show_default=False)
    ] = None,
) -> None:
    """Measure ViTAU against a baseline.

    The two alternate. A ratio above 1 means that ViTAU is faster.
    """
    from rich.console import Console

    from vitau.bench.page import add_section
    from vitau.bench.run import as_json as to_json
    from vitau.bench.run import as_table as to_table
    from vitau.bench.run import run

    failed = False
    with bar("bench", transient=True) as update:
        for one, result in run(name, rounds, lambda case, done, total: update(done, total, case)):
            if isinstance(result, VitauError):
                failed = True
                typer.echo(f"Error: {result}", err=True)
            elif as_json:
                typer.echo(to_json(result))
            else:
                Console().print(to_table(result))
            if page is not None:
                add_section(page, f"vitau bench {one}", result)
    raise typer.Exit(1 if failed else 0)


def main() -> None:
    """Run the command; print an error as one line and exit with code 1."""
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


def _watch(paths: Iterable[Path], total: int) -> Iterator[Path]:
    return track(paths, "scoring", total, transient=True)


def _watch_files(names: Iterable[str], total: int) -> Iterator[str]:
    return track(names, "fetching", total, transient=True)


if __name__ == "__main__":
    main()
