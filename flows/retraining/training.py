"""The trainings of a retraining, each in a process of its own: pretraining, then training on the people of a snapshot."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from flows.execution.training_process import Listener, lease_training, run_training, show_trainings
from flows.retraining.recipes import PlannedTraining, pretraining_folder
from flows.workspace import Workspace
from vitau.data import layout
from vitau.schema import Protocol
from vitau.training.recipes import find_recipe, pretrained_recipe

METRICS: Final = "metrics.json"
"""The file of a training's folder that is written last."""


def train_all(workspace: Workspace, trainings: Sequence[PlannedTraining]) -> dict[str, Path]:
    """Train recipes on a snapshot, as many at once as the settings allow; returns the folders of results by model."""
    running: dict[str, PrefectFuture[Path]] = {}
    with show_trainings() as listener:
        for training in trainings:
            name = pretrained_recipe(training.recipe)
            pretrained = find_recipe(name).pretrain and pretrain.submit(workspace, name, listener)
            started_from = cast("Path | None", pretrained)  # Prefect waits for the future and passes its result
            running[training.model] = train.submit(workspace, training, started_from, listener)
            if len(running) % workspace.settings.num_trainings == 0:
                running[training.model].wait()
        return {model: future.result() for model, future in running.items()}


@task(cache_policy=NO_CACHE, task_run_name="pretrain-{recipe}")
def pretrain(workspace: Workspace, recipe: str, listener: Listener) -> Path:
    """Pretrain on drawn people who are in no cohort, once per recipe; returns the folder of results.

    A complete pretraining, of this machine or in the store, starts no process.
    """
    settings, out = workspace.settings, pretraining_folder(workspace, recipe)
    arguments = ["pretrain", "--recipe", recipe, "--out", str(out), "--cache", str(workspace.folder("drawn"))]
    arguments += ["--mlflow-url", settings.mlflow_url]
    with lease_training(workspace.catalog, f"pretrainings/{out.name}", settings.lease_s, listener) as lease:
        fetch_pretraining(workspace, out)
        if not (out / METRICS).exists():  # it is written last
            run_training(
                f"pretraining {recipe}",
                arguments,
                listener,
                num_at_once=settings.num_trainings,
                num_processes=settings.training_processes,
                lease=lease,
            )
        for path in sorted(filter(Path.is_file, out.rglob("*")), key=lambda path: path.name == METRICS):
            workspace.store.put(layout.pretrained_prefix(out.name) + path.relative_to(out).as_posix(), path)
    return out


@task(cache_policy=NO_CACHE, task_run_name="train-{training.recipe}")
def train(workspace: Workspace, training: PlannedTraining, pretrained: Path | None, listener: Listener) -> Path:
    """Train a recipe on a snapshot, or resume an interrupted training; returns the folder of results."""
    settings, out = workspace.settings, workspace.folder("trainings") / training.key
    arguments = ["--recipe", training.recipe, "--store", settings.store, "--snapshot", training.snapshot, "--out", str(out)]
    arguments += ["--cache", str(workspace.folder("crops"))] + (["--pretrained", str(pretrained)] if pretrained else [])
    arguments += [argument for source in training.weights for argument in ("--weights", source)]
    arguments += ["--mlflow-url", settings.mlflow_url]
    arguments += ["--everybody"] if training.protocol is Protocol.LOPO else []
    arguments += ["--balance-people"] if training.balance_people else []
    with lease_training(workspace.catalog, f"trainings/{out.name}", settings.lease_s, listener) as lease:
        run_training(
            f"training {training.recipe}",
            [*arguments, "--checkpoints-to-store", "--fencing-token", str(lease.token)],
            listener,
            num_at_once=settings.num_trainings,
            num_processes=settings.training_processes,
            lease=lease,
        )
    return out


def fetch_pretraining(workspace: Workspace, out: Path) -> None:
    """Download a pretraining that another worker completed; its metrics are uploaded and downloaded last."""
    prefix = layout.pretrained_prefix(out.name)
    if workspace.store.exists(f"{prefix}{METRICS}") and not (out / METRICS).exists():
        for key in sorted(workspace.store.keys(prefix), key=lambda key: key.endswith(METRICS)):
            workspace.store.download(key, out / key.removeprefix(prefix))
