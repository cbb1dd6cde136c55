"""``python -m vitau.measures.fitting``: fit the weights of the weak half on drawn people."""

import json
from pathlib import Path
from typing import Annotated, Final

import typer

from vitau.command_line import run
from vitau.measures.fitting.drawn import draw_signs
from vitau.measures.landmarks.choice import open_backend
from vitau.measures.weakness.model import WEIGHTS, fit_model
from vitau.progress import bar

SEED: Final = 100
"""Seed of the drawn people to learn from."""

OUT: Final = Path(__file__).parent.with_name("weakness") / WEIGHTS

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def fit(
    out: Annotated[Path, typer.Option(help="File to write.")] = OUT,
    people: Annotated[int, typer.Option(min=4, help="Drawn people to learn from; half of them have a palsy.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawn people.")] = SEED,
) -> None:
    """Draw people, measure them as ``vitau measure`` does, and write the weights.

    Takes about 10 minutes. The same seed gives the same weights.
    """
    with bar("measuring drawn people", people, transient=True) as update:
        drawn = draw_signs(people, seed, open_backend("refined"), update)
    record = {"people": people, "seed": seed, **fit_model(drawn).to_json()}
    out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    typer.echo(out)


if __name__ == "__main__":
    run(app)
