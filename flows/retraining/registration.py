"""The registration of a trained model: weights into the store, a version in MLflow, a row in the catalog."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from flows.execution.leases import exclusive_lease
from flows.execution.retries import RETRY_DELAYS_S, is_service_unavailable
from flows.promotion.cascade import with_cascade
from flows.promotion.explanations import with_explanations
from flows.promotion.left_out import left_out_metrics
from flows.promotion.looks import count_looks, looks_sentence, note_look
from flows.promotion.registered_models import PALSY, REGIONS
from flows.reports.reporting_sheet import build_reporting_sheet
from flows.retraining.recipes import PlannedTraining, pretraining_folder
from flows.workspace import Workspace
from vitau.catalog.catalog import Training
from vitau.data import layout
from vitau.data import snapshot as snapshots
from vitau.errors import CheckpointError, TrainingError
from vitau.evaluation.metrics import evidence_words
from vitau.evaluation.training_result import Pretraining, TrainingResult
from vitau.models.checkpoint import load_model, model_digest
from vitau.registry import registry
from vitau.registry.bundle import folder_digest
from vitau.schema import Protocol
from vitau.training.recipes import find_recipe
from vitau.training.run import METRICS
from vitau.training.start import MODEL


@task(
    cache_policy=NO_CACHE,
    task_run_name="register-{training.model}",
    retries=len(RETRY_DELAYS_S),
    retry_delay_seconds=RETRY_DELAYS_S,
    retry_condition_fn=is_service_unavailable,
)
def register(workspace: Workspace, training: PlannedTraining, folder: Path, recognition: Training | None = None) -> Training:
    """Copy the weights of a trained recipe to the store and register them with their lineage, once.

    Of two runs at once, the second waits and gets the version of the first.

    Args:
        workspace: Where the model is registered.
        training: What was trained.
        folder: Results of the training.
        recognition: To include in the bundle of a region model.
    """
    with exclusive_lease(workspace.catalog, f"registrations/{training.key}", workspace.settings.lease_s):
        return workspace.catalog.training(training.key) or _register(workspace, training, folder, recognition)


def _register(workspace: Workspace, training: PlannedTraining, folder: Path, recognition: Training | None) -> Training:
    model, recipe, snapshot = training.model, training.recipe, training.snapshot
    result = read_result(workspace, recipe, folder, recognition)
    if result.protocol is Protocol.LOPO:
        result = replace(result, test=left_out_metrics(workspace, training.key, snapshot))
    bundle = workspace.folder("bundles") / training.key
    fill_bundle(workspace, bundle, folder / "model", recognition)
    if recognition is not None:
        result = with_cascade(workspace, result, bundle)
    result = with_explanations(workspace, result, bundle, recognition)
    digest = folder_digest(bundle)
    if result.test is not None:
        note_look(workspace, snapshot=snapshot, protocol=result.protocol, model=model, digest=digest, purpose="registration")
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
            **({"evidence": evidence_words(result.test)} if result.test is not None else {}),
        },
        remarks=[] if result.test is None else [looks_sentence(count_looks(workspace, snapshot, result.protocol))],
        reporting_sheet=build_reporting_sheet(workspace, model, recipe, snapshot, result, recognition),
    )
    registered = Training(
        key=training.key,
        model=model,
        recipe=recipe,
        snapshot=snapshot,
        model_digest=digest,
        model_key=layout.model_key(digest),
        version=version,
        run_id=run_id,
        metrics=result.to_json(),
    )
    workspace.catalog.add_training(registered)
    return registered


def describe_folder(workspace: Workspace, folder: Path) -> PlannedTraining:
    """Return what a folder of ``python -m vitau.training`` was trained from; its key is of the model in it.

    Raises:
        TrainingError: the folder holds no complete training on a snapshot.
        CheckpointError: the model is missing, damaged, or not of its recipe.
        SnapshotError: the snapshot is not in this store.
    """
    if not (folder / METRICS).is_file():
        raise TrainingError(f"{folder} has no {METRICS}: give the --out of a `python -m vitau.training` that is complete")
    try:
        result = TrainingResult.from_json(json.loads((folder / METRICS).read_text()))
    except (ValueError, KeyError, TypeError, AttributeError) as damage:
        raise TrainingError(f"{folder / METRICS} is damaged ({type(damage).__name__}): train again") from damage
    if result.recipe is None or result.snapshot is None:
        raise TrainingError(f"{folder} holds a pretraining, which saw no labeled people: train on a snapshot first")
    loaded, _ = load_model(folder / MODEL)
    if loaded.config != find_recipe(result.recipe).model:
        raise CheckpointError(f"the model in {folder} is not the one of recipe {result.recipe}: train again")
    snapshots.load(workspace.store, result.snapshot)
    key = sha256(f"registered {model_digest(folder / MODEL)}".encode()).hexdigest()[:16]
    model = PALSY if result.kind == "palsy" else REGIONS
    return PlannedTraining(model=model, recipe=result.recipe, snapshot=result.snapshot, key=key)


def read_result(workspace: Workspace, recipe: str, folder: Path, recognition: Training | None) -> TrainingResult:
    """Read the outcome of a training, and add its pretraining and the recognition in its bundle."""
    result = TrainingResult.from_json(json.loads((folder / METRICS).read_text()))
    path = pretraining_folder(workspace, recipe) / METRICS
    if result.drawn and path.exists():
        pretraining = TrainingResult.from_json(json.loads(path.read_text()))
        result = replace(result, pretraining=_summary(result.drawn, pretraining.seconds))
    elif result.drawn:  # pretrained elsewhere: its own folder is not known
        result = replace(result, pretraining=_summary(result.drawn, result.pretraining_seconds or 0.0))
    return result if recognition is None else replace(result, recognition=f"{PALSY}/{recognition.version}")


def _summary(drawn: Mapping[str, Any], seconds: float) -> Pretraining:
    return Pretraining(drawn_people=drawn["num_people"], seconds=seconds)


def fill_bundle(workspace: Workspace, bundle: Path, model: Path, recognition: Training | None) -> None:
    """Copy what is registered into a folder: the model and, with regions, the recognition that runs before it."""
    shutil.copytree(model, bundle / "model", dirs_exist_ok=True)
    if recognition is not None:
        prefix = f"{recognition.model_key}/model/"
        for key in workspace.store.keys(prefix):
            workspace.store.download(key, bundle / "recognition" / key.removeprefix(prefix))
