"""``python -m vitau.training``: train a recipe on a snapshot, or pretrain it on drawn people."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitau.collector import collector_paused
from vitau.errors import VitauError

if TYPE_CHECKING:
    from vitau.training.config import Recipe

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

RecipeName = Annotated[str, typer.Option("--recipe", help="Name of a recipe in vitau.training.recipes.")]
Out = Annotated[
    Path, typer.Option("--out", help="Folder of the results; a complete one is kept, an incomplete one is resumed.")
]
Cache = Annotated[
    Path | None,
    typer.Option("--cache", help="Folder for decoded or drawn crops, shared between runs; by default a temporary one."),
]


Tracking = Annotated[
    str | None,
    typer.Option("--mlflow-url", help="MLflow server that receives curves, system metrics and images during the training."),
]


@app.callback(invoke_without_command=True)
def train(  # noqa: PLR0913, PLR0917 - an argument for each option
    context: typer.Context,
    recipe: Annotated[str | None, typer.Option(help="Name of a recipe in vitau.training.recipes.")] = None,
    store: Annotated[str | None, typer.Option(help="URI of the object store.")] = None,
    snapshot: Annotated[str | None, typer.Option(help="Digest of the snapshot to train on.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder of the results; an incomplete one is resumed.")] = None,
    pretrained: Annotated[
        Path | None, typer.Option(help="Model to start from: a model folder, or the results of `pretrain`.")
    ] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(help="Your own weights to start from: a file, store:KEY or hub. Repeat the option for several, in order."),
    ] = None,
    checkpoints_to_store: Annotated[
        bool, typer.Option(help="Write checkpoints to the store as well, so that another machine can resume.")
    ] = False,
    fencing_token: Annotated[
        int | None, typer.Option(help="Number of the caller's lease: a training with an older one stops before it writes.")
    ] = None,
    cache: Cache = None,
    mlflow_url: Tracking = None,
    everybody: Annotated[
        bool, typer.Option(help="Train or validate on everybody and test nobody: after people were left out.")
    ] = False,
    balance_people: Annotated[
        bool, typer.Option(help="Draw every training person equally often, however long the clips.")
    ] = False,
    exit_with_parent: Annotated[bool, typer.Option(help="Exit when stdin is closed, because the parent process died.")] = False,
) -> None:
    """Train a recipe on a snapshot: model/, metrics.json and history.json in the folder OUT.

    Under `torchrun --nproc-per-node N -m vitau.training …` N processes train together, one per GPU or core.
    """
    if exit_with_parent:
        from vitau import processes

        processes.exit_with_parent()
    if context.invoked_subcommand:
        return
    if recipe is None or store is None or snapshot is None or out is None:
        raise typer.BadParameter("training needs --recipe, --store, --snapshot and --out")
    with collector_paused():
        from vitau.store import open_store
        from vitau.training import run
        from vitau.training.config import balanced

    with _together():
        run.train(
            balanced(_recipe(recipe)) if balance_people else _recipe(recipe),
            open_store(store),
            snapshot,
            out,
            everybody=everybody,
            pretrained=pretrained,
            weights=weights or (),
            cache=cache,
            checkpoints_to_store=checkpoints_to_store,
            fencing_token=fencing_token,
            mlflow_url=mlflow_url,
        )


@app.command()
def pretrain(recipe: RecipeName, out: Out, cache: Cache = None, mlflow_url: Tracking = None) -> None:
    """Pretrain a recipe on drawn people who are in no cohort: model/ and history.json in the folder OUT."""
    with collector_paused():
        from vitau.training import run

    with _together():
        run.pretrain(_recipe(recipe), out, cache=cache, mlflow_url=mlflow_url)


@app.command()
def judge(
    labels: Annotated[Path, typer.Argument(help="A CSV: subject, clip, label, side, AU1 … AU26.", show_default=False)],
    recipe: RecipeName,
    pretrained: Annotated[Path | None, typer.Option(help="Results of `pretrain` to start from.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of each fold.")] = 1,
) -> None:
    """Cross-validate a recipe on labeled clips: train it with one palsied person left out at a time, and print its metrics."""
    from vitau.asymmetry.clips import read_labels
    from vitau.training.crossvalidation.clips import leave_one_out, load_clips, result_lines

    chosen = _recipe(recipe)
    crops, skipped = load_clips(read_labels(labels))
    for skip in skipped:
        typer.echo(f"Skipped {skip.item}: {skip.reason}", err=True)
    pooled = leave_one_out(
        chosen,
        crops,
        pretrained=pretrained,
        num_seeds=seeds,
        watch=lambda done, total: typer.echo(f"fold {done} of {total}", err=True),
    )
    for line in result_lines(chosen, pooled):
        typer.echo(line)
    raise typer.Exit(1 if skipped else 0)


@app.command()
def ablate(
    store: Annotated[str, typer.Option(help="URI of the object store.")],
    snapshot: Annotated[str, typer.Option(help="Digest of the snapshot to train on.")],
    out: Annotated[Path, typer.Option(help="Folder of the table and its cells; complete cells are kept.")],
    recipe: Annotated[str, typer.Option(help="Name of a recipe of the regions.")] = "tiny-regions",
    losses: Annotated[str | None, typer.Option(help="Some of the losses, with commas between; all by default.")] = None,
    features: Annotated[str | None, typer.Option(help="Some of all,early,middle,late; all by default.")] = None,
    drawn_people: Annotated[
        int | None, typer.Option(min=100, help="People each pretraining sees; at most 3000 of the recipe's by default.")
    ] = None,
    jobs: Annotated[int | None, typer.Option(min=1, help="Cells trained at a time; one per core by default.")] = None,
) -> None:
    """Train every loss with every part of the generator: one table, ablation.md and ablation.json, in the folder OUT."""
    from vitau.store import open_store
    from vitau.training import ablation

    ablation.ablate(
        _recipe(recipe),
        open_store(store),
        snapshot,
        out,
        losses=losses.split(",") if losses else ablation.LOSSES,
        features=features.split(",") if features else ablation.FEATURES,
        drawn_people=drawn_people,
        jobs=jobs,
    )


def _together() -> AbstractContextManager[None]:
    from vitau.training.parallel import process_group

    return process_group()


def _recipe(name: str) -> "Recipe":
    from vitau.training.recipes import find_recipe

    return find_recipe(name)


def main() -> None:
    """Run the command; a ViTAU error becomes one line and exit code 1."""
    try:
        app()
    except VitauError as error:
        typer.echo(f"Error: {error}", err=True)
        raise SystemExit(1) from error


if __name__ == "__main__":
    main()
