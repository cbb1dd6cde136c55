"""Train both models on a snapshot, register them in MLflow, and promote those that the policy allows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final, cast

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from flows.execution.training_process import Listener, lease_training, run_training, show_trainings
from flows.promote import evaluate, promote_or_refuse
from flows.promotion.champion import bundled_recognition, standing_recognition
from flows.promotion.registered_models import PALSY, REGIONS
from flows.retraining.recipes import PlannedTraining, plan_trainings, pretraining_folder
from flows.retraining.registration import describe_folder, register
from flows.settings import Settings
from flows.workspace import PrivatePath, Workspace, open_workspace
from vitau.catalog.catalog import Training
from vitau.data import layout
from vitau.data import snapshot as snapshots
from vitau.errors import TrainingError
from vitau.schema import canonical_name
from vitau.training.recipes import find_recipe

BY: Final = "flow retrain"


@flow(name="retrain")
def retrain(snapshot: str, size: str = "tiny", settings: Settings | None = None) -> dict[str, Training]:
    """Train, register, evaluate and promote both models on a snapshot; a step that was done before is not repeated.

    Recognition comes first: new regions are registered together with the recognition that is champion at that moment.

    Args:
        snapshot: Digest of the snapshot.
        size: Family of recipes.
        settings: Read from the environment by default; they name the weights that the sizes base and paper start from.

    Raises:
        ValueError: There is no such family of recipes.
        TrainingError: People in the snapshot withdrew their consent, or a recipe needs weights and none were given.
        CheckpointError: The weights to start from do not exist.
    """
    workspace = open_workspace(settings)
    workspace.signing_key()  # a missing setting must fail before hours of training
    planned = plan_trainings(workspace, size, snapshot)
    known = {model: workspace.catalog.training(training.key) for model, training in planned.items()}
    if None in known.values():
        check_consent(workspace, snapshot)
    folders = train_all(workspace, [training for model, training in planned.items() if known[model] is None])

    palsy = known[PALSY] or register(workspace, planned[PALSY], folders[PALSY])
    evaluation = evaluate(workspace, palsy)
    promote_or_refuse(workspace, evaluation, by=BY)

    regions = known[REGIONS] or register(workspace, planned[REGIONS], folders[REGIONS], standing_recognition(workspace, palsy))
    evaluation = evaluate(workspace, regions)
    promote_or_refuse(workspace, evaluation, by=BY)
    return {PALSY: palsy, REGIONS: regions}


@flow(name="register", validate_parameters=False)
def register_folder(folder: PrivatePath, by: str = "flow register", settings: Settings | None = None) -> Training:
    """Register the results of ``python -m vitau.training``, evaluate them, and promote them if the policy allows.

    Args:
        folder: The ``--out`` of the training, on a snapshot of this store.
        by: Who registers it, for the record.
        settings: Read from the environment by default.

    Raises:
        TrainingError: The folder holds no complete training on a snapshot.
        CheckpointError: The model in the folder is missing, damaged, or not of its recipe.
    """
    workspace = open_workspace(settings)
    workspace.signing_key()
    training = describe_folder(workspace, folder.path)
    check_consent(workspace, training.snapshot)
    known = workspace.catalog.training(training.key)
    recognition = None if training.model == PALSY else bundled_recognition(workspace)
    registered = known or register(workspace, training, folder.path, recognition)
    promote_or_refuse(workspace, evaluate(workspace, registered), by=by)
    return registered


def check_consent(workspace: Workspace, snapshot: str) -> None:
    """Raise TrainingError if people in a snapshot withdrew their consent since it was frozen."""
    withdrawn = workspace.catalog.withdrawn_subjects()
    if withdrawn:
        merged = workspace.catalog.merged_names()
        names = set(snapshots.load(workspace.store, snapshot)["subject"].to_pylist())
        num_people = len({canonical_name(name, merged) for name in names} & withdrawn)
        if num_people:
            raise TrainingError(
                f"{num_people} people in snapshot {snapshot[:12]} withdrew their consent: "
                "run `python -m flows freeze`, and train on the new snapshot"
            )


def train_all(workspace: Workspace, trainings: Sequence[PlannedTraining]) -> dict[str, Path]:
    """Train recipes on a snapshot, as many at once as the settings allow; returns the folders of results by model."""
    running: dict[str, PrefectFuture[Path]] = {}
    with show_trainings() as listener:
        for training in trainings:
            pretrained = find_recipe(training.recipe).pretrain and pretrain.submit(workspace, training.recipe, listener)
            started_from = cast("Path | None", pretrained)  # Prefect waits for the future and passes its result
            running[training.model] = train.submit(workspace, training, started_from, listener)
            if len(running) % workspace.settings.num_trainings == 0:
                running[training.model].wait()
        return {model: future.result() for model, future in running.items()}


@task(cache_policy=NO_CACHE, task_run_name="pretrain-{recipe}")
def pretrain(workspace: Workspace, recipe: str, listener: Listener) -> Path:
    """Pretrain on drawn people who are in no cohort, once per recipe; returns the folder of results."""
    settings, out = workspace.settings, pretraining_folder(workspace, recipe)
    arguments = ["pretrain", "--recipe", recipe, "--out", str(out), "--cache", str(workspace.folder("drawn"))]
    arguments += ["--mlflow-url", settings.mlflow_url]
    with lease_training(workspace.catalog, f"pretrainings/{out.name}", settings.lease_s, listener) as lease:
        fetch_pretraining(workspace, out)
        run_training(
            f"pretraining {recipe}",
            arguments,
            listener,
            num_at_once=settings.num_trainings,
            num_processes=settings.training_processes,
            lease=lease,
        )
        for path in sorted(filter(Path.is_file, out.rglob("*")), key=lambda path: path.name == "metrics.json"):
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
    if workspace.store.exists(f"{prefix}metrics.json") and not (out / "metrics.json").exists():
        for key in sorted(workspace.store.keys(prefix), key=lambda key: key.endswith("metrics.json")):
            workspace.store.download(key, out / key.removeprefix(prefix))
