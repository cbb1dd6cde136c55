"""Train both models on a snapshot, register them in MLflow, and promote those that the policy allows."""

from collections.abc import Mapping
from typing import Final

from prefect import flow

from flows.promote import evaluate, promote_or_refuse
from flows.promotion.champion import bundled_recognition, standing_recognition
from flows.promotion.registered_models import PALSY, REGIONS
from flows.promotion.shortcuts import probe_people
from flows.reports.run_summary import publish_summary
from flows.retraining.recipes import PlannedTraining, plan_trainings
from flows.retraining.registration import describe_folder, register
from flows.retraining.training import train_all
from flows.settings import Settings
from flows.small_study.left_out import leave_one_out, plan_small_study
from flows.workspace import PrivatePath, Workspace, open_workspace
from vitau.catalog.catalog import Training
from vitau.data import snapshot as snapshots
from vitau.errors import TrainingError
from vitau.schema import canonical_name

BY: Final = "flow retrain"


@flow(name="retrain", flow_run_name="retrain {snapshot:.8} {size}", on_completion=[publish_summary])
def retrain(snapshot: str, size: str = "tiny", settings: Settings | None = None) -> dict[str, Training]:
    """Train, register, evaluate and promote both models on a snapshot; a step that was done before is not repeated.

    Recognition comes first: new regions are registered together with the recognition that is champion at that moment. In a
    small study, every palsied person is left out once before the models are trained on everybody: these predictions are the
    evidence.

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
    planned: Mapping[str, PlannedTraining] = plan_trainings(workspace, size, snapshot)  # missing weights are reported at once
    if probe_people(workspace, snapshot).separates:
        planned = plan_trainings(workspace, size, snapshot, confounded=True)
    planned = plan_small_study(workspace, planned, snapshot)
    known = {model: workspace.catalog.training(training.key) for model, training in planned.items()}
    if None in known.values():
        check_consent(workspace, snapshot)
    missing = [training for model, training in planned.items() if known[model] is None]
    leave_one_out(workspace, missing)
    folders = train_all(workspace, missing)

    palsy = known[PALSY] or register(workspace, planned[PALSY], folders[PALSY])
    evaluation = evaluate(workspace, palsy)
    promote_or_refuse(workspace, evaluation, by=BY)

    regions = known[REGIONS] or register(workspace, planned[REGIONS], folders[REGIONS], standing_recognition(workspace, palsy))
    evaluation = evaluate(workspace, regions)
    promote_or_refuse(workspace, evaluation, by=BY)
    return {PALSY: palsy, REGIONS: regions}


@flow(name="register", flow_run_name="register", validate_parameters=False, on_completion=[publish_summary])
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
