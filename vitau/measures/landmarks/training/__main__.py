"""``python -m vitau.measures.landmarks.training``: train the refinement of landmarks, and measure their flattening."""

import json
from pathlib import Path
from typing import Annotated

import typer

from vitau.command_line import run

SEED = 1
"""Seed of the drawn people to learn from."""

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, no_args_is_help=True)


@app.command()
def refinement(
    out: Annotated[Path, typer.Option(help="File of the weights, such as refinement.safetensors.")],
    num_patches: Annotated[int, typer.Option(min=1, help="Drawn patches per region.")] = 12_000,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the patches.")] = 9,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawn people.")] = SEED,
    processes: Annotated[int, typer.Option(min=1, max=2, help="Regions that are drawn and trained at the same time.")] = 2,
    widths: Annotated[str, typer.Option(help="Channels of the network at its three resolutions.")] = "32,64,64",
) -> None:
    """Draw half faces and train the networks that localize brows, lids, nose and lips in them."""
    from vitau.measures.landmarks.refinement.network import save_networks
    from vitau.measures.landmarks.training.fit import FitConfig
    from vitau.measures.landmarks.training.regions import train_regions

    config = FitConfig(epochs=epochs, seed=seed, widths=tuple(int(width) for width in widths.split(",")))
    networks = train_regions(num_patches, config, processes)
    card = {"patches": num_patches, "epochs": epochs, "seed": seed, "widths": list(config.widths)}
    save_networks(out, networks, card)
    typer.echo(f"The weights are in {out}, {out.stat().st_size / 1e6:.2f} MB")


@app.command()
def flattening(
    out: Annotated[Path, typer.Option(help="File to write, such as flattening.json.")],
    people: Annotated[int, typer.Option(min=2, help="Drawn people.")] = 60,
) -> None:
    """Measure on drawn people how much of the true asymmetry the points of dlib and their refinement keep."""
    from dataclasses import asdict
    from hashlib import sha256

    from vitau.measures.landmarks.choice import open_backend
    from vitau.measures.landmarks.flattening import measure_flattening
    from vitau.measures.landmarks.refinement import WEIGHTS

    table = {}
    for name in ("dlib", "refined"):
        measured = measure_flattening(open_backend(name), people)
        table[name] = asdict(measured)
        typer.echo(f"{name}: {measured.sentence()}")
    table["refined"]["weights"] = sha256(WEIGHTS.read_bytes()).hexdigest()
    out.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n", encoding="utf-8")


@app.command()
def movement(
    seed: Annotated[int, typer.Option(min=0, help="Seed of the drawn people; one on which nothing was fitted.")],
    people: Annotated[int, typer.Option(min=4, help="Drawn people.")] = 60,
    backend: Annotated[str, typer.Option(help="Landmarks: dlib or refined.")] = "refined",
) -> None:
    """Judge the movement of drawn people: how well it separates palsied people, and whether the side is right."""
    from dataclasses import asdict

    from vitau.measures.landmarks.choice import open_backend
    from vitau.measures.landmarks.training.movement import evaluate_movement

    typer.echo(json.dumps(asdict(evaluate_movement(open_backend(backend), people, seed))))


if __name__ == "__main__":
    run(app)
