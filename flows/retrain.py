"""Train both models on a snapshot, register them in MLflow, and promote those that the policy allows."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Final, cast

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from flows.execution.retries import RETRY_DELAYS_S, is_service_unavailable
from flows.execution.training_process import Listener, lease_training, run_training, show_trainings
from flows.promote import evaluate, promote_or_refuse
from flows.promotion.champion import standing_recognition
from flows.promotion.registered_models import MODELS, PALSY, REGIONS
from flows.reports.reporting_sheet import build_reporting_sheet
from flows.settings import SIZES, Settings
from flows.workspace import Workspace, open_workspace
from vitau.catalog.catalog import Training
from vitau.data import layout
from vitau.data import snapshot as snapshots
from vitau.errors import TrainingError
from vitau.evaluation.training_result import Pretraining, TrainingResult
from vitau.registry import registry
from vitau.schema import canonical_name
from vitau.training.pretraining.drawn_faces import DRAWING_VERSION
from vitau.training.recipes import RECIPES

BY: Final = "flow retrain"


@flow(name="retrain")
def retrain(snapshot: str, size: str = "tiny", settings: Settings | None = None) -> dict[str, Training]:
    """Train, register, evaluate and promote both models on a snapshot; a step that was done before is not repeated.

    Recognition comes first: new regions are registered together with the recognition that is champion at that moment.

    Args:
        snapshot: Digest of the snapshot.
        size: Family of recipes.
        settings: Read from the environment by default.

    Raises:
        ValueError: There is no such family of recipes.
        TrainingError: People in the snapshot withdrew their consent.
    """
    if size not in SIZES:
        raise ValueError(f"there is no recipe size {size}: choose one of {', '.join(SIZES)}")
    workspace = open_workspace(settings)
    workspace.signing_key()  # a missing setting must fail before hours of training
    recipes = {PALSY: f"{size}-palsy", REGIONS: f"{size}-regions"}
    known = {model: workspace.catalog.training(training_key(recipe, snapshot)) for model, recipe in recipes.items()}
    if None in known.values():
        check_consent(workspace, snapshot)
    folders = train_all(workspace, [recipes[model] for model in MODELS if known[model] is None], snapshot)

    palsy = known[PALSY] or register(workspace, PALSY, recipes[PALSY], snapshot, folders[recipes[PALSY]])
    evaluation = evaluate(workspace, palsy)
    promote_or_refuse(workspace, evaluation, by=BY)

    regions = known[REGIONS] or register(
        workspace, REGIONS, recipes[REGIONS], snapshot, folders[recipes[REGIONS]], standing_recognition(workspace, palsy)
    )
    evaluation = evaluate(workspace, regions)
    promote_or_refuse(workspace, evaluation, by=BY)
    return {PALSY: palsy, REGIONS: regions}


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


def train_all(workspace: Workspace, recipes: Sequence[str], snapshot: str) -> dict[str, Path]:
    """Train recipes on a snapshot, as many at once as the settings allow; returns the folders of results by recipe."""
    running: dict[str, PrefectFuture[Path]] = {}
    with show_trainings() as listener:
        for recipe in recipes:
            pretrained = pretrain.submit(workspace, recipe, listener) if RECIPES[recipe]().pretrain else None
            started_from = cast("Path | None", pretrained)  # Prefect waits for the future and passes its result
            running[recipe] = train.submit(workspace, recipe, snapshot, started_from, listener)
            if len(running) % workspace.settings.num_trainings == 0:
                running[recipe].wait()
        return {recipe: future.result() for recipe, future in running.items()}


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


@task(cache_policy=NO_CACHE, task_run_name="train-{recipe}")
def train(workspace: Workspace, recipe: str, snapshot: str, pretrained: Path | None, listener: Listener) -> Path:
    """Train a recipe on a snapshot, or resume an interrupted training; returns the folder of results."""
    settings, out = workspace.settings, workspace.folder("trainings") / training_key(recipe, snapshot)
    arguments = ["--recipe", recipe, "--store", settings.store, "--snapshot", snapshot, "--out", str(out)]
    arguments += ["--cache", str(workspace.folder("crops"))] + (["--pretrained", str(pretrained)] if pretrained else [])
    arguments += ["--mlflow-url", settings.mlflow_url]
    with lease_training(workspace.catalog, f"trainings/{out.name}", settings.lease_s, listener) as lease:
        run_training(
            f"training {recipe}",
            [*arguments, "--checkpoints-to-store", "--fencing-token", str(lease.token)],
            listener,
            num_at_once=settings.num_trainings,
            num_processes=settings.training_processes,
            lease=lease,
        )
    return out


@task(
    cache_policy=NO_CACHE,
    task_run_name="register-{model}",
    retries=len(RETRY_DELAYS_S),
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=is_service_unavailable,
)
def register(
    workspace: Workspace,
    model: str,
    recipe: str,
    snapshot: str,
    folder: Path,
    recognition: Training | None = None,
) -> Training:
    """Copy the weights of a trained recipe to the store and register them with their lineage.

    Args:
        workspace: Where the model is registered.
        model: Name of the registered model.
        recipe: That was trained.
        snapshot: Digest of the snapshot that it was trained on.
        folder: Results of the training.
        recognition: To include in the bundle of a region model.
    """
    key = training_key(recipe, snapshot)
    result = read_result(workspace, recipe, folder, recognition)
    bundle = workspace.folder("bundles") / key
    fill_bundle(workspace, bundle, folder / "model", recognition)
    digest = registry.folder_digest(bundle)
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        workspace.store.put(layout.model_file_key(digest, path.relative_to(bundle).as_posix()), path)
    version, run_id = registry.register(
        workspace.settings.mlflow_url,
        model,
        bundle,
        metrics=result.to_json(),
        lineage={
            "snapshot": snapshot,
            "ledger_offset": str(result.ledger_offset),
            "recipe": recipe,
            "protocol": str(result.protocol),
            "synthetic": str(result.synthetic).lower(),
        },
        reporting_sheet=build_reporting_sheet(workspace, model, recipe, snapshot, result, recognition),
    )
    training = Training(
        key=key,
        model=model,
        recipe=recipe,
        snapshot=snapshot,
        model_digest=digest,
        model_key=layout.model_key(digest),
        version=version,
        run_id=run_id,
        metrics=result.to_json(),
    )
    workspace.catalog.add_training(training)
    return training


def read_result(workspace: Workspace, recipe: str, folder: Path, recognition: Training | None) -> TrainingResult:
    """Read the outcome of a training, and add its pretraining and the recognition in its bundle."""
    result = TrainingResult.from_json(json.loads((folder / "metrics.json").read_text()))
    if RECIPES[recipe]().pretrain:
        path = pretraining_folder(workspace, recipe) / "metrics.json"
        pretraining = TrainingResult.from_json(json.loads(path.read_text()))
        assert pretraining.drawn is not None, "a pretraining is on drawn people"
        summary = Pretraining(drawn_people=pretraining.drawn["num_people"], seconds=pretraining.seconds)
        result = replace(result, pretraining=summary)
    return result if recognition is None else replace(result, recognition=f"{PALSY}/{recognition.version}")


def pretraining_folder(workspace: Workspace, recipe: str) -> Path:
    """Return the folder of a recipe's pretraining, which all snapshots share."""
    name = sha256(f"{RECIPES[recipe]()} {DRAWING_VERSION}".encode()).hexdigest()[:16]
    return workspace.folder("pretrained") / name


def fetch_pretraining(workspace: Workspace, out: Path) -> None:
    """Download a pretraining that another worker completed; its metrics are uploaded and downloaded last."""
    prefix = layout.pretrained_prefix(out.name)
    if workspace.store.exists(f"{prefix}metrics.json") and not (out / "metrics.json").exists():
        for key in sorted(workspace.store.keys(prefix), key=lambda key: key.endswith("metrics.json")):
            workspace.store.download(key, out / key.removeprefix(prefix))


def training_key(recipe: str, snapshot: str) -> str:
    """Return the key of a training: a digest of the whole recipe, the drawing code and the snapshot."""
    return sha256(f"{RECIPES[recipe]()} {DRAWING_VERSION} {snapshot}".encode()).hexdigest()[:16]


def fill_bundle(workspace: Workspace, bundle: Path, model: Path, recognition: Training | None) -> None:
    """Copy what is registered into a folder: the model and, with regions, the recognition that runs before it."""
    shutil.copytree(model, bundle / "model", dirs_exist_ok=True)
    if recognition is not None:
        prefix = f"{recognition.model_key}/model/"
        for key in workspace.store.keys(prefix):
            workspace.store.download(key, bundle / "recognition" / key.removeprefix(prefix))
