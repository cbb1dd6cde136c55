"""The command ``vitau measure``."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vitau.collector import collector_paused
from vitau.command_line import WORKERS_HELP
from vitau.commands.workers import start_workers
from vitau.progress import track

if TYPE_CHECKING:
    from vitau.measures.run import MeasureResult
    from vitau.measures.sources import Source


def measure(  # noqa: PLR0913 - an argument for each option of the command
    inputs: Annotated[list[Path] | None, typer.Argument(help="Photos, clips, or folders of them.", show_default=False)] = None,
    *,
    out: Annotated[Path, typer.Option("--out", help="Write all files into this folder.", show_default=False)],
    manifest: Annotated[
        Path | None,
        typer.Option(
            help="A CSV with the column clip, and any of subject, task, visit, recorded_at, mirrored, start and end.",
            show_default=False,
        ),
    ] = None,
    backend: Annotated[
        str | None,
        typer.Option(
            help="Where the landmarks come from: refined (by default), dlib, shape_predictor (VITAU_SHAPE_PREDICTOR), or csv.",
            show_default=False,
        ),
    ] = None,
    landmarks: Annotated[
        Path | None, typer.Option(help="A CSV with the landmarks of another program, for csv.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
    video: Annotated[
        bool, typer.Option("--video", help="Also write a video of each clip with landmarks, measured lines and curves.")
    ] = False,
    mirrored: Annotated[
        bool, typer.Option("--mirrored", help="The pictures are mirror images, as of a phone's front camera.")
    ] = False,
    start: Annotated[
        float | None, typer.Option(help="Measure clips from this second of the recording on.", show_default=False)
    ] = None,
    end: Annotated[
        float | None, typer.Option(help="Measure clips up to this second of the recording.", show_default=False)
    ] = None,
    fps: Annotated[
        float | None,
        typer.Option(
            help="Frames per second of image sequences (tar); by default every image is measured.", show_default=False
        ),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help=WORKERS_HELP, show_default=False)] = None,
) -> None:
    """Measure photos and clips of faces, without a model.

    Writes a page per person, tables and a workbook, and prints one line per person.
    The tables name an input by its file name without suffix.
    Options about recordings apply to all inputs that the manifest does not list.
    A file that cannot be measured is listed with its reason.
    The other files are measured, and the exit code is 1.
    """
    with collector_paused():
        from vitau.measures.sources import list_sources
        from vitau.media.inputs import RecordingOptions, default_workers, num_readers

        options = RecordingOptions(mirrored=mirrored, start_s=start, end_s=end, fps=fps)
        listed = list_sources(inputs or [], options, manifest)
        paths = [part.path for source in listed.sources for part in source.parts]
        start_workers("vitau.measures.reporting.folder", paths, workers)
        from vitau.data.parquet import leave_pandas_out
        from vitau.measures.landmarks.choice import open_backend
        from vitau.measures.reporting.folder import measure_into

    leave_pandas_out()
    points = open_backend(backend, table=landmarks)
    num_processes = workers or default_workers(paths)
    readers = num_readers(num_processes, len(listed.sources), workers)
    result = measure_into(out, listed, points, video=video, num_processes=num_processes, num_readers=readers, watch=_watch)
    kept = points.flattening.sentence() if points.flattening else "how much asymmetry they keep was not measured"
    typer.echo(f"Landmarks: {points.name}; {kept}.", err=True)
    for skipped in result.skipped:
        typer.echo(f"Skipped {skipped.item}: {skipped.reason}", err=True)
    if result.num_ignored:
        typer.echo(f"Ignored {result.num_ignored} files in folders: they are neither photos nor clips.", err=True)
    if as_json:
        import json

        typer.echo(json.dumps(_record(result, out), ensure_ascii=False))
    else:
        for line in _summary_lines(result):
            typer.echo(line)
    typer.echo(f"The report is {out / 'report.html'}; the tables are beside it", err=True)
    raise typer.Exit(1 if result.skipped else 0)


def _record(result: "MeasureResult", out: Path) -> dict[str, Any]:
    people = [
        {
            "input": summary.item,
            "visit": summary.visit,
            "side": summary.person.side,
            "side_probability": _rounded(summary.person.side_probability),
            "asymmetry": _rounded(summary.person.asymmetry),
            "pattern": summary.person.pattern,
            "forehead_spared": summary.person.forehead_spared,
            "exercises": [
                {
                    "name": exercise.task,
                    "performed": exercise.performed,
                    "confidence": _rounded(exercise.confidence),
                    "start_s": exercise.start_s,
                    "end_s": exercise.end_s,
                }
                for exercise in summary.exercises
            ],
            "num_frames": summary.num_frames,
            "notes": list(summary.notes),
        }
        for summary in result.people
    ]
    skipped = [{"input": skip.item, "reason": skip.reason} for skip in result.skipped]
    return {"people": people, "skipped": skipped, "out": str(out)}


def _summary_lines(result: "MeasureResult") -> Iterator[str]:
    for summary in result.people:
        person = summary.person
        if person.asymmetry is None or person.side is None or person.side_probability is None:
            yield f"{summary.item}\tasymmetry of movement not measurable"
            continue
        yield f"{summary.item}\tasymmetry {person.asymmetry:.2f}\t{person.side} is weaker, {person.side_probability:.0%}"


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def _watch(sources: "Iterable[Source]", total: int) -> "Iterator[Source]":
    return track(sources, "measuring", total, transient=True)
