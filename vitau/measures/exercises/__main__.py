"""``python -m vitau.measures.exercises``: fit the model that names exercises, on drawn people."""

import json
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import typer

from vitau.measures.exercises.drawn import CLASSES, drawn_movements
from vitau.measures.exercises.naming import WEIGHTS, NamingModel

PRIORS: Final = {"rest": -0.5, "other": -2.0, "eye_closure_tight": -1.5}
"""Added to the intercepts: the drawn recordings hold more rest and more unnamed movement than an examination."""
SEED: Final = 11
"""Seed of the drawn people to learn from."""

OUT: Final = Path(__file__).with_name(WEIGHTS)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def fit(
    out: Annotated[Path, typer.Option(help="File to write.")] = OUT,
    people: Annotated[int, typer.Option(min=2, help="Drawn people to learn from.")] = 300,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawn people.")] = SEED,
) -> None:
    """Fit the model on the movements of drawn people, and write its weights.

    Takes about a minute. The same seed gives the same weights.
    """
    model = fit_model(people, seed)
    out.write_text(json.dumps({"people": people, "seed": seed, **model.to_json()}, indent=1) + "\n", encoding="utf-8")
    typer.echo(out)


def fit_model(num_people: int, seed: int) -> NamingModel:
    """Fit the multinomial model on drawn people."""
    from sklearn.linear_model import LogisticRegression

    features, labels = drawn_movements(num_people, seed)
    scale = features.std(axis=0)
    fitted = LogisticRegression(C=1.0, max_iter=3000).fit(features / scale, labels)
    assert list(fitted.classes_) == list(range(len(CLASSES)))
    priors = np.array([PRIORS.get(name, 0.0) for name in CLASSES])
    return NamingModel(
        classes=CLASSES, scale=scale, weights=np.asarray(fitted.coef_), intercept=np.asarray(fitted.intercept_) + priors
    )


if __name__ == "__main__":
    app()
