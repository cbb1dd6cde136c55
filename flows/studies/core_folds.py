"""``python -m flows.studies.core_folds SNAPSHOT OUT``: the folds of `crossvalidate` alone, for a benchmark."""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

from flows.execution.executor import FOLDS, start_workers
from flows.settings import load_settings
from vitau.schema import Protocol

if TYPE_CHECKING:  # Prefect, which processes that train a fold need not load
    from flows.crossvalidation.study import Study
    from flows.erasure.living import LivingRows
    from vitau.data.protocols import Task

RECIPES: Final[Mapping["Task", str]] = {"palsy": "tiny-palsy", "regions": "tiny-regions"}


def plan_folds(snapshot: str, living: "LivingRows") -> "Study":
    """Plan one training of each fold of both tiny models, which are not pretrained, one person left out."""
    from flows.crossvalidation.crossvalidate import plan
    from vitau.training.recipes import find_recipe

    recipes = {task: replace(find_recipe(name), pretrain=None, drawn=None) for task, name in RECIPES.items()}
    return plan(snapshot, living, recipes, (Protocol.LOPO,), num_seeds=1)


def main(snapshot: str, out: Path) -> None:
    """Train the folds and write all that `crossvalidate` writes, and start as it does."""
    settings = load_settings()
    start_workers(FOLDS, "local", settings.num_trainings)
    from flows.crossvalidation.crossvalidate import conclude, train_folds
    from flows.crossvalidation.folder import only_run
    from flows.erasure.living import load_living
    from flows.workspace import open_workspace

    workspace = open_workspace(settings)
    living = load_living(workspace, snapshot)
    study = plan_folds(snapshot, living)
    with only_run(out):
        conclude(study, living, train_folds(workspace, study, living, {}, out), out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
