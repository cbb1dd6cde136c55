"""Leave-one-person-out for a small study: its evidence is stored before both models are trained on everybody."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import pyarrow as pa
from prefect.logging import get_logger

from flows.crossvalidation.crossvalidate import check_distinct, run_study
from flows.crossvalidation.folder import only_run
from flows.crossvalidation.results import merge, pool
from flows.crossvalidation.study import FoldTask
from flows.erasure.living import load_living
from flows.promotion.policies import choose_policy, people_needed
from flows.retraining.recipes import PlannedTraining, balance, derived_key
from flows.workspace import Workspace
from vitau.catalog.evidence import LeftOut
from vitau.data.protocols import LEAST_PALSIED, Task
from vitau.data.splits import NUM_CONTROL_FOLDS
from vitau.errors import TrainingError
from vitau.progress import Reporter
from vitau.schema import AUS, Cohort, Protocol, Split
from vitau.training.config import balanced
from vitau.training.recipes import find_recipe

FOLDER: Final = "left-out"
"""Folder of the predictions of all folds, in the work folder."""
NUM_SEEDS: Final = 1
"""A person's scores are of one seed, as those of the registered model: means over several would be better than that model."""


def plan_small_study(
    workspace: Workspace, planned: Mapping[str, PlannedTraining], snapshot: str
) -> Mapping[str, PlannedTraining]:
    """Return the trainings, on everybody if the snapshot holds out too few people, and has enough to leave out one at a time.

    The setting ``protocol`` can decide otherwise. Few palsied people are reported with what more of them are needed for.

    Raises:
        TrainingError: the settings ask for people left out one at a time, and there are too few.
    """
    wanted = workspace.settings.protocol
    if wanted == "subjects":
        return planned
    policy = choose_policy(workspace.settings, (training.recipe for training in planned.values()))
    rows = load_living(workspace, snapshot).rows
    people = set(zip(*(rows[name].to_pylist() for name in ("subject", "cohort", "split")), strict=True))
    palsied, others = ([split for _, own, split in people if own == cohort] for cohort in (Cohort.PALSY, Cohort.CONTROL))
    if wanted != "lopo" and min(own.count(Split.TEST) for own in (palsied, others)) >= policy.min_people:
        return planned
    few = f"{len(palsied)} palsied people and {len(others)} others are in snapshot {snapshot[:12]}"
    if wanted == "lopo" and (len(palsied) < LEAST_PALSIED or len(others) < NUM_CONTROL_FOLDS):
        raise TrainingError(f"{few}, too few to leave one out at a time: {people_needed(policy)}")
    if len(palsied) < LEAST_PALSIED or len(others) < NUM_CONTROL_FOLDS:
        report(f"{few}, too few to leave one out at a time: the models cannot become champions. {people_needed(policy)}")
        return planned
    if min(len(palsied), len(others)) < policy.min_left_out:
        report(f"{few}, too few for a champion. {people_needed(policy)}")
    Reporter().line(f"{few}: every palsied person is left out once, then the models are trained on everybody")
    return {model: on_everybody(training) for model, training in planned.items()}


def report(sentence: str) -> None:
    """Write a sentence to the terminal, and as a warning to the log of the run."""
    Reporter().line(sentence)
    get_logger(__name__).warning(sentence)


def on_everybody(training: PlannedTraining) -> PlannedTraining:
    """Return the training on everybody in place of one that holds people out; long clips do not weigh as many patients."""
    even = training if training.balance_people else balance(training)
    return replace(even, protocol=Protocol.LOPO, key=derived_key(even, "everybody"))


def leave_one_out(workspace: Workspace, trainings: Sequence[PlannedTraining]) -> None:
    """Predict every person by models that never saw the person, and store that as the evidence of trainings on everybody.

    Complete folds of an interrupted run are only read. Trainings that hold people out need none of this.

    Raises:
        TrainingError: a fold cannot be trained.
        ContradictionError: a person was erased meanwhile.
    """
    by_task: dict[Task, PlannedTraining] = {
        find_recipe(training.recipe).kind: training
        for training in trainings
        if training.protocol is Protocol.LOPO and not workspace.catalog.left_out(training.key)
    }
    if not by_task:
        return
    snapshot = next(iter(by_task.values())).snapshot
    living = load_living(workspace, snapshot)
    check_distinct(workspace, snapshot, living)
    recipes = {task: balanced(find_recipe(training.recipe)) for task, training in by_task.items()}
    out = workspace.folder(FOLDER)
    with only_run(out):
        _, tables = run_study(workspace, snapshot, living, recipes, out, num_seeds=NUM_SEEDS)
    for task, training in by_task.items():
        workspace.catalog.add_left_out(predictions(training.key, task, living.rows, tables))


def predictions(key: str, task: Task, rows: pa.Table, tables: Mapping[FoldTask, pa.Table]) -> list[LeftOut]:
    """Return the prediction of each person: means over the person's frames and the folds that left the person out.

    Args:
        key: of the training that they are evidence for.
        task: of the folds.
        rows: of the snapshot, without erased people.
        tables: predictions of the folds.
    """
    found = pool(Protocol.LOPO, task, rows, tables)
    right_M = merge(Protocol.LOPO, task, tables)["right_score"]
    left_out = []
    for subject in found.people:
        own_M = found.subject_M == subject
        score_K, right = found.where(own_M).mean_score(), float(right_M[own_M].mean())
        left_out.append(
            LeftOut(
                training=key,
                subject=subject,
                num_frames=len(np.unique(found.frame_M[own_M])),
                num_folds=len(np.unique(found.fold_M[own_M])),
                palsy_score=float(score_K[0]) if task == "palsy" else None,
                threshold=float(found.threshold_M[own_M].mean()) if task == "palsy" else None,
                regions=dict(zip(map(str, AUS), score_K.tolist(), strict=True)) if task == "regions" else None,
                right_score=None if np.isnan(right) else right,
            )
        )
    return left_out
