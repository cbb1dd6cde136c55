"""The command ``vitau check``: of a pulled model, or of a recording."""

from pathlib import Path
from typing import Annotated

import typer

from vitau.errors import VitauError


def check(
    path: Annotated[Path, typer.Argument(help="Folder of a pulled model, or a recording.", show_default=False)],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print the check of a recording as one JSON object.")] = False,
    mirrored: Annotated[
        bool, typer.Option("--mirrored", help="The recording is a mirror image, as of a phone's front camera.")
    ] = False,
    start: Annotated[float | None, typer.Option(help="Look at the recording from this second on.", show_default=False)] = None,
    end: Annotated[float | None, typer.Option(help="Look at the recording up to this second.", show_default=False)] = None,
) -> None:
    """Check a pulled model, or a recording before the person leaves.

    Model: compares every file with its checksum.
    The exit code is 1 if one is missing or differs.
    Recording: looks at size, light, direction and sharpness of the face.
    Names the exercises that are there, and says what to do better.
    It takes about a second per ten seconds of recording.
    The exit code is 1 if something is poor.
    """
    if path.is_dir():
        _check_model(path)
        return
    if not path.exists():
        raise VitauError(f"{path} does not exist; give a recording, or the folder of a pulled model")
    from vitau.measures.reporting.check import check_clip, lines, record
    from vitau.media.inputs import RecordingOptions

    checked = check_clip(path, RecordingOptions(mirrored=mirrored, start_s=start, end_s=end))
    if as_json:
        import json

        typer.echo(json.dumps(record(checked), ensure_ascii=False))
    else:
        for line in lines(checked):
            typer.echo(line)
    typer.echo(f"Looked at {checked.lasts_s:.1f} s in {checked.took_s:.1f} s.", err=True)
    raise typer.Exit(0 if checked.good else 1)


def _check_model(folder: Path) -> None:
    from vitau.registry.bundle import verify_sums

    count = verify_sums(folder)
    if not count:
        raise VitauError(f"{folder} has no SHA256SUMS: give the folder of a pulled model, or one recording")
    typer.echo(f"{count} files are as registered")
