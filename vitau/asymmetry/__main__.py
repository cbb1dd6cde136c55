"""``python -m vitau.asymmetry``: fit the model on drawn people, train and judge it on labeled clips, answer about clips."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from vitau.command_line import run
from vitau.errors import VitauError

if TYPE_CHECKING:  # numpy and OpenCV, which `--help` need not load
    from vitau.asymmetry.explaining.pointing import Pointing
    from vitau.asymmetry.judge import Judgement

SEED: Final = 7731
"""Seed of the drawn people to learn from."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)

Weights = Annotated[
    Path | None, typer.Option(help="Weights that `fit` wrote; by default those of the package.", show_default=False)
]
Kinds = Annotated[str, typer.Option(help="Kinds of features, any of movement, rest, texture and gradient.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object in place of the table.")]
Labels = Annotated[Path, typer.Argument(help="A CSV: subject, clip, label, side, AU1 … AU26.", show_default=False)]


@app.command()
def fit(
    out: Annotated[Path, typer.Option(help="File to write.", show_default=False)],
    people: Annotated[int, typer.Option(min=4, help="Drawn people to learn from.")] = 400,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawn people.")] = SEED,
    kinds: Kinds = "movement,rest,texture",
) -> None:
    """Draw people and fit the weights on them.

    Takes about 6 minutes. The same seed gives the same weights.
    """
    from vitau.asymmetry.drawn import draw_people
    from vitau.asymmetry.features import parse_kinds
    from vitau.asymmetry.model import fit_model

    chosen = parse_kinds(kinds)
    model = fit_model(draw_people(people, seed, _shown("drawn")), kinds=chosen)
    out.write_text(json.dumps({"people": people, "seed": seed, **model.to_json()}, indent=1) + "\n", encoding="utf-8")
    typer.echo(out)


@app.command()
def train(
    labels: Labels,
    out: Annotated[Path, typer.Option(help="File to write.", show_default=False)],
    weights: Weights = None,
) -> None:
    """Train on labeled clips, from weights that drawn people taught; few people change them little."""
    from vitau.asymmetry.clips import measure_people, read_labels
    from vitau.asymmetry.model import fit_model
    from vitau.asymmetry.weights import load_weights

    people, skipped = measure_people(read_labels(labels), _shown("measured"))
    for skip in skipped:
        typer.echo(f"Skipped {skip.item}: {skip.reason}", err=True)
    out.write_text(json.dumps(fit_model(people, load_weights(weights)).to_json(), indent=1) + "\n", encoding="utf-8")
    typer.echo(out)
    raise typer.Exit(1 if skipped else 0)


@app.command()
def judge(
    labels: Labels,
    weights: Weights = None,
    seeds: Annotated[int, typer.Option(min=1, help="Divisions of the controls into folds.")] = 5,
    *,
    as_json: Json = False,
) -> None:
    """Judge the model on labeled clips: by its weights as they are, and trained with one person left out at a time.

    Prints a table of AUROC of recognition and of regions within palsied people, and of the share of sides that are right.
    The rows of the ablation learn from the other people alone, from some kinds of features.
    """
    from vitau.asymmetry.clips import measure_people, read_labels
    from vitau.asymmetry.explaining.pointing import pointing_game
    from vitau.asymmetry.judge import judge as judged
    from vitau.asymmetry.judge import leave_one_out
    from vitau.asymmetry.table import ABLATION
    from vitau.asymmetry.weights import load_weights

    people, skipped = measure_people(read_labels(labels), _shown("measured"))
    for skip in skipped:
        typer.echo(f"Skipped {skip.item}: {skip.reason}", err=True)
    model = load_weights(weights)
    rows = {
        "weights of drawn people": judged(model, people),
        "weights of drawn people, then the other people": leave_one_out(people, model, num_seeds=seeds),
    }
    for name, kinds in ABLATION.items():
        rows[f"the other people alone: {name}"] = leave_one_out(people, kinds=kinds, num_seeds=seeds)
    _print_judgements(rows, {next(iter(rows)): pointing_game(model, people)}, "weights from", as_json=as_json)
    raise typer.Exit(1 if skipped else 0)


@app.command()
def judge_drawn(
    people: Annotated[int, typer.Option(min=4, help="Drawn people of each style.")] = 100,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawn people; not that of the weights.")] = SEED + 1,
    weights: Weights = None,
    *,
    as_json: Json = False,
) -> None:
    """Judge the weights on drawn people of every style; the package's weights learned from painted people alone."""
    from vitau.asymmetry.drawn import draw_people
    from vitau.asymmetry.explaining.pointing import pointing_game
    from vitau.asymmetry.judge import judge as judged
    from vitau.asymmetry.weights import load_weights
    from vitau.media.synthetic.values import Style

    model = load_weights(weights)
    drawn = {str(style): draw_people(people, seed, _shown(str(style)), style=style) for style in Style}
    rows = {style: judged(model, own) for style, own in drawn.items()}
    pointing = {style: pointing_game(model, own) for style, own in drawn.items()}
    _print_judgements(rows, pointing, "style", as_json=as_json)


@app.command()
def answer(
    clips: Annotated[list[Path], typer.Argument(help="Clips of one person each.", show_default=False)],
    *,
    weights: Weights = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object per clip.")] = False,
) -> None:
    """Answer about people: the probability of a palsy, its side, the affected regions, and what contributes most."""
    from vitau.asymmetry.clips import measure_clips
    from vitau.asymmetry.table import answer_lines, answer_record
    from vitau.asymmetry.weights import load_weights

    model, failed = load_weights(weights), False
    for clip in clips:
        try:
            features = measure_clips([clip])
        except VitauError as error:
            typer.echo(f"Skipped {clip.name}: {error}", err=True)
            failed = True
            continue
        if as_json:
            typer.echo(json.dumps(answer_record(clip.name, model, features), ensure_ascii=False))
        else:
            for line in answer_lines(clip.name, model, features):
                typer.echo(line)
    raise typer.Exit(1 if failed else 0)


def _print_judgements(
    rows: "Mapping[str, Judgement]", pointing: "Mapping[str, Pointing | None]", heading: str, *, as_json: bool
) -> None:
    from vitau.asymmetry.table import judgement_record, pointing_line, table_lines

    if as_json:
        typer.echo(json.dumps({name: judgement_record(own, pointing.get(name)) for name, own in rows.items()}, indent=1))
        return
    for line in table_lines(rows, heading):
        typer.echo(line)
    typer.echo("")
    for name, own in pointing.items():
        typer.echo(pointing_line(name, own))


def _shown(verb: str) -> Callable[[int, int], None]:
    def show(done: int, total: int) -> None:
        if done % 20 == 0 or done == total:
            typer.echo(f"{verb} {done} of {total} people", err=True)

    return show


if __name__ == "__main__":
    run(app)
