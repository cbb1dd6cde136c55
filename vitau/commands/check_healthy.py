"""The command ``vitau check-healthy``: false alarms on healthy faces that the user has."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from vitau.commands.models import ModelOption, TrackingOption, open_models
from vitau.progress import track
from vitau.registry import DEFAULT_TRACKING_URI


def check_healthy(
    inputs: Annotated[list[Path], typer.Argument(help="Folders, photos and clips of healthy faces.", show_default=False)],
    *,
    model: ModelOption = None,
    out: Annotated[Path | None, typer.Option("--out", help="Write the verdicts to this CSV.", show_default=False)] = None,
    allow: Annotated[int, typer.Option(help="Number of false alarms from which on the exit code is still 0.", min=0)] = 0,
    tracking_uri: TrackingOption = DEFAULT_TRACKING_URI,
) -> None:
    """Count the false alarms on photos and clips of healthy faces.

    Every face is judged by the movement score of `vitau measure`, and by
    the model of the two halves of a face that comes with the package.
    With --model, the model judges it too, as `vitau score` does.
    A photo shows no movement: both abstain from it.
    Prints one line per face. The exit code is 1 with more false
    alarms than allowed, and if a file cannot be read or no face can be judged.
    """
    from vitau.judging import healthy
    from vitau.judging.judges import JUDGED, AsymmetryJudge, Judge, ModelJudge, MovementJudge, Outcome

    judges: list[Judge] = [
        MovementJudge(),
        AsymmetryJudge(),
        *(ModelJudge(folder, name) for name, folder in open_models(model or [], tracking_uri)),
    ]
    checked = healthy.check_healthy(inputs, judges, _watch)
    if out is not None:
        out.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        healthy.write_check(checked, out)
    for line in healthy.lines(checked):
        typer.echo(line)
    for sentence in healthy.summary(checked, judges):
        typer.echo(sentence, err=True)
    if checked.num_ignored:
        typer.echo(f"Ignored {checked.num_ignored} files in folders: they are neither photos nor clips.", err=True)
    outcomes = [face.verdict.outcome for face in checked.faces]
    unread, judged = Outcome.SKIPPED in outcomes, any(outcome in JUDGED for outcome in outcomes)
    raise typer.Exit(1 if checked.num_alarms > allow or unread or not judged else 0)


def _watch(paths: Iterable[Path], total: int) -> Iterator[Path]:
    return track(paths, "judging", total, transient=True)
