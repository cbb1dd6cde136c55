"""From a snapshot to registered models: trained in processes of their own, kept in the store, entered in MLflow."""

import json
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import cast

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.futures import PrefectFuture

from flows.execution.retries import RETRY_DELAYS_S, is_service_unavailable
from flows.execution.training_process import Listener, run_training, show_trainings
from flows.promote import decide, signing_key
from flows.promotion.registered_models import PALSY, REGIONS, standing_recognition
from flows.reports.reporting_sheet import write_evidence
from flows.settings import Settings
from flows.workspace import Workspace, open_workspace
from vitau.catalog.catalog import Training
from vitau.data import layout
from vitau.registry import registry
from vitau.training.pretraining.drawn_faces import DRAWING_VERSION
from vitau.training.recipes import RECIPES


@flow(name="retrain")
def retrain(snapshot: str, size: str = "tiny", settings: Settings | None = None) -> dict[str, Training]:
    """Train both models on a snapshot, at the size of a family of recipes, and make champions of those that may be; once each.

    The trainings run side by side if the settings allow. Recognition is registered and judged first: regions are registered
    together with the recognition that judges a face before them, the champion of that moment.
    """
    workspace = open_workspace(settings)
    signing_key(workspace)  # hours of training must not end at a missing setting
    recipes = {PALSY: f"{size}-palsy", REGIONS: f"{size}-regions"}
    known = {model: workspace.catalog.training(training_key(recipe, snapshot)) for model, recipe in recipes.items()}
    with show_trainings() as listener:
        results = train_all(workspace, [recipes[model] for model in recipes if known[model] is None], snapshot, listener)
    trained: dict[str, Training] = {}
    for model, recipe in recipes.items():
        recognition = standing_recognition(workspace, trained[PALSY]) if model == REGIONS and known[model] is None else None
        trained[model] = known[model] or register(workspace, model, recipe, snapshot, results[recipe], recognition)
        decide(workspace, trained[model], by="flow retrain")
    return trained


def train_all(workspace: Workspace, recipes: Sequence[str], snapshot: str, listener: Listener) -> dict[str, Path]:
    """Train recipes on a snapshot, some at once; returns the folder of each one's results."""
    at_once = workspace.settings.num_trainings
    running: dict[str, PrefectFuture[Path]] = {}
    for recipe in recipes:
        pretrained = pretrain.submit(workspace, recipe, listener) if RECIPES[recipe]().pretrain else None
        started_from = cast("Path | None", pretrained)  # Prefect waits for it and hands on its result
        running[recipe] = train.submit(workspace, recipe, snapshot, started_from, listener)
        if len(running) % at_once == 0:
            running[recipe].wait()
    return {recipe: future.result() for recipe, future in running.items()}


@task(cache_policy=NO_CACHE, task_run_name="pretrain-{recipe}")
def pretrain(workspace: Workspace, recipe: str, listener: Listener) -> Path:
    """Pretrain on drawn people of no cohort, once per recipe; returns the folder of the results."""
    settings, out = workspace.settings, pretraining_folder(workspace, recipe)
    arguments = ["pretrain", "--recipe", recipe, "--out", str(out), "--cache", str(workspace.folder("drawn"))]
    arguments += ["--mlflow-url", settings.mlflow_url]
    fetch_pretraining(workspace, out)
    run_training(
        f"pretraining {recipe}",
        arguments,
        listener,
        num_at_once=settings.num_trainings,
        num_processes=settings.training_processes,
    )
    for path in sorted(filter(Path.is_file, out.rglob("*")), key=lambda path: path.name == "metrics.json"):
        workspace.store.put(layout.pretrained_prefix(out.name) + path.relative_to(out).as_posix(), path)
    return out


@task(cache_policy=NO_CACHE, task_run_name="train-{recipe}")
def train(workspace: Workspace, recipe: str, snapshot: str, pretrained: Path | None, listener: Listener) -> Path:
    """Train a recipe on a snapshot; returns the folder of the results. An interrupted training goes on."""
    settings, out = workspace.settings, workspace.folder("trainings") / training_key(recipe, snapshot)
    arguments = ["--recipe", recipe, "--store", settings.store, "--snapshot", snapshot, "--out", str(out)]
    arguments += ["--cache", str(workspace.folder("crops"))] + (["--pretrained", str(pretrained)] if pretrained else [])
    arguments += ["--mlflow-url", settings.mlflow_url]
    run_training(
        f"training {recipe}",
        [*arguments, "--checkpoints-to-store"],
        listener,
        num_at_once=settings.num_trainings,
        num_processes=settings.training_processes,
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
    workspace: Workspace, model: str, recipe: str, snapshot: str, results: Path, recognition: Training | None
) -> Training:
    """Keep the weights in the store and register them with their lineage; the metrics are of the test people."""
    key = training_key(recipe, snapshot)
    metrics = json.loads((results / "metrics.json").read_text())
    if RECIPES[recipe]().pretrain:
        pretraining = json.loads((pretraining_folder(workspace, recipe) / "metrics.json").read_text())
        metrics["pretraining"] = {"drawn_people": pretraining["drawn"]["num_people"], "seconds": pretraining["seconds"]}
    if recognition is not None:
        metrics["recognition"] = f"{PALSY}/{recognition.version}"
    bundle = workspace.folder("bundles") / key
    fill_bundle(workspace, bundle, results / "model", recognition)
    digest = registry.folder_digest(bundle)
    for path in sorted(path for path in bundle.rglob("*") if path.is_file()):
        workspace.store.put(layout.model_file_key(digest, path.relative_to(bundle).as_posix()), path)
    lineage = {
        "snapshot": snapshot,
        "ledger_offset": str(metrics["ledger_offset"]),
        "recipe": recipe,
        "protocol": metrics["protocol"],
        "synthetic": str(metrics["synthetic"]).lower(),
    }
    sheet = write_evidence(workspace, model, recipe, snapshot, metrics, recognition)
    version, run_id = registry.register(
        workspace.settings.mlflow_url, model, bundle, metrics=metrics, lineage=lineage, reporting_sheet=sheet
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
        metrics=metrics,
    )
    workspace.catalog.add_training(training)
    return training


def pretraining_folder(workspace: Workspace, recipe: str) -> Path:
    """Return where a recipe's pretraining is kept: once for all snapshots."""
    name = sha256(f"{RECIPES[recipe]()} {DRAWING_VERSION}".encode()).hexdigest()[:16]
    return workspace.folder("pretrained") / name


def fetch_pretraining(workspace: Workspace, out: Path) -> None:
    """Bring what another worker pretrained, if it is complete: its metrics are written and kept last."""
    prefix = layout.pretrained_prefix(out.name)
    if workspace.store.exists(f"{prefix}metrics.json") and not (out / "metrics.json").exists():
        for key in sorted(workspace.store.keys(prefix), key=lambda key: key.endswith("metrics.json")):
            workspace.store.download(key, out / key.removeprefix(prefix))


def training_key(recipe: str, snapshot: str) -> str:
    """Name a training by all that determines it: the whole recipe and the snapshot."""
    return sha256(f"{RECIPES[recipe]()} {DRAWING_VERSION} {snapshot}".encode()).hexdigest()[:16]


def fill_bundle(workspace: Workspace, bundle: Path, model: Path, recognition: Training | None) -> None:
    """Lay out what is registered: the model, and for regions the recognition that judges a face first."""
    shutil.copytree(model, bundle / "model", dirs_exist_ok=True)
    if recognition is not None:
        prefix = f"{recognition.model_key}/model/"
        for key in workspace.store.keys(prefix):
            workspace.store.download(key, bundle / "recognition" / key.removeprefix(prefix))
